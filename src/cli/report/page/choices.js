// The list of scopes and people.

const choices = { kind: "scopes", find: "", most: CHOICES_AT_A_TIME, key: "", items: [], texts: {} };

function choiceText(kind, at) {
    const texts = choices.texts[kind] || (choices.texts[kind] = []);
    const item = kind === "scopes" ? scopes[at] : people[at];
    return texts[at] || (texts[at] = `${item.name || ""}\n${item.id}\n${item.user || ""}`.toLowerCase());
}

function drawChoices() {
    const { kind } = choices;
    const find = choices.find.trim().toLowerCase();
    const key = `${kind}\n${find}\n${choices.most}`;
    const order = kind === "scopes" ? scopeOrder.order : peopleOrder.order;
    if (choices.key !== key) {
        choices.key = key;
        const found = find === "" ? order : order.filter(at => choiceText(kind, at).includes(find));
        const names = kind === "scopes" ? scopeNames : null;
        choices.items = found.slice(0, choices.most).map(at => choice(kind, at, names));
        byId("choices").replaceChildren(...choices.items.map(item => el("li", null, item.link)));
        byId("choices").setAttribute("aria-label", kind === "scopes" ? "Scopes" : "People");
        const more = found.length - choices.items.length;
        byId("more-choices").hidden = more <= 0;
        byId("more-choices").textContent = `Show ${Math.min(more, CHOICES_AT_A_TIME)} more`;
        const [one, many] = kind === "scopes" ? ["scope", "scopes"] : ["holder", "holders"];
        byId("choice-number").textContent = find === ""
            ? `${plural(order.length, one, many)}` : `${figure(found.length)} of ${plural(order.length, one, many)}`;
    }
    updateChoices();
}

function choice(kind, at, names) {
    const item = kind === "scopes" ? scopes[at] : people[at];
    const name = kind === "scopes" ? item.name : nameOf(item);
    const count = el("span", { class: "count" });
    const hint = kind === "scopes" ? (names.get(name) > 1 ? whereabouts(item.id) : null) : KINDS[item.kind];
    const link = el("a", { title: escaped(item.id) }, el("span", null, el("bdi", null, escaped(name))), count,
        hint ? el("span", { class: "small" }, foreign(hint)) : null);
    return { at, link, count };
}

/** The numbers, addresses and the mark of the current one: the links themselves stay, so that focus does. */
function updateChoices() {
    const { byScope, held } = counts(state.day);
    const isScopes = choices.kind === "scopes";
    const current = isScopes ? state.scope : state.person;
    const focused = choices.items.find(item => item.link === document.activeElement);
    const entry = focused || choices.items.find(item => item.at === current) || choices.items[0];
    for (const item of choices.items) {
        const number = isScopes ? byScope[item.at].any : held[item.at];
        const label = isScopes ? plural(number, "holder", "holders") : plural(number, "role", "roles");
        item.link.href = isScopes ? toScope(item.at) : toPerson(item.at);
        item.link.tabIndex = item === entry ? 0 : -1;
        item.count.replaceChildren(el("span", { "aria-hidden": "true" }, figure(number)),
            el("span", { class: "quiet" }, `, ${label}`));
        if (item.at === current) item.link.setAttribute("aria-current", "page");
        else item.link.removeAttribute("aria-current");
    }
    byId("everything").href = toAll();
    if (state.scope === null && state.person === null) byId("everything").setAttribute("aria-current", "page");
    else byId("everything").removeAttribute("aria-current");
}

function moveChoice(event) {
    const at = choices.items.findIndex(item => item.link === document.activeElement);
    const last = choices.items.length - 1;
    const to = {
        ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last,
        PageDown: Math.min(at + 10, last), PageUp: Math.max(at - 10, 0),
    }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    if (to < 0) byId("find-choice").focus();
    else if (to > last) byId("more-choices").focus();
    else focusChoice(to);
}

function focusChoice(to) {
    choices.items.forEach((item, at) => { item.link.tabIndex = at === to ? 0 : -1; });
    if (choices.items[to]) choices.items[to].link.focus();
}
