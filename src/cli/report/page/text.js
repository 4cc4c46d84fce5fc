// Text and elements. Names were written by others: they reach the page as text only, each isolated and with its control
// characters escaped.

const DAY = 86400000;
const ROWS_AT_A_TIME = 300;
const CHOICES_AT_A_TIME = 100;
const CHANGES_SHOWN = 8;
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December"];
const KINDS = { Group: "Entra group", ServicePrincipal: "application", Other: "kind unknown" };
const CAUSES = new Map([["request", "a push of"], ["order", "an order of"], ["sweep", "a sweep of"],
    ["snapshot", "new bindings, activated by"]]);
// What acts on a line or hides in it: controls, separators, and what sets the direction of text.
const ACTS = new RegExp("[\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u2069"
    + "\\ufeff\\ufff9-\\ufffb]", "g");

const byId = id => document.getElementById(id);
const numbers = new Intl.NumberFormat("en");
const figure = number => numbers.format(number);
const collator = new Intl.Collator("en", { numeric: true });
const escaped = text => String(text).replace(ACTS, c => `\\u{${c.charCodeAt(0).toString(16)}}`);

/** An element. Strings become text, never markup. */
function el(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
        if (value === true) made.setAttribute(name, "");
        else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
    }
    made.append(...children.flat(2).filter(child => child !== null && child !== undefined));
    return made;
}

/** Text of others, isolated: its direction turns nothing round it. A mail address may break behind its @. */
function foreign(text) {
    const parts = escaped(text).split("@");
    return el("bdi", null, parts.flatMap((part, at) => at ? ["@", el("wbr"), part] : [part]));
}
const code = text => el("code", null, el("bdi", null, escaped(text)));
const plural = (number, one, many) => `${figure(number)} ${number === 1 ? one : many}`;
const two = number => String(number).padStart(2, "0");
const isoDay = day => new Date(day * DAY).toISOString().slice(0, 10);
const dayOf = ms => Math.floor(ms / DAY);

function longDay(day) {
    const date = new Date(day * DAY);
    return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
}

function clock(ms) {
    const date = new Date(ms);
    return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} UTC`;
}

const longTime = ms => `${longDay(dayOf(ms))}, ${clock(ms)}`;
const sentence = text => text.charAt(0).toUpperCase() + text.slice(1);
