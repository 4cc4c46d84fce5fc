// What the reader does, and the beginning. The files of this folder are put together to one script, in one function.

let waiting = 0;
/** Draws once for many inputs. */
function change(changes) {
    Object.assign(state, changes);
    writeAddress();
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
}

const setDay = day => change({ day: day >= today ? null : Math.max(day, firstDay) });
const verbButtons = verbNames.map((name, verb) => {
    const button = el("button", { type: "button", "aria-pressed": "false" }, name, " ", el("b"));
    button.addEventListener("click", () => change({ can: state.can ^ 1 << verb }));
    return button;
});

function listenToTime() {
    const slider = byId("day");
    slider.min = firstDay;
    slider.max = today;
    byId("date").min = isoDay(firstDay);
    byId("date").max = isoDay(today);
    byId("first-day").textContent = longDay(firstDay);
    byId("past").hidden = firstDay >= today;
    byId("no-past").hidden = data.since !== null;
    slider.addEventListener("input", () => setDay(Number(slider.value)));
    byId("date").addEventListener("change", () => {
        const day = Date.parse(byId("date").value);
        if (!Number.isNaN(day)) setDay(dayOf(day));
    });
    const current = () => state.day === null ? today : state.day;
    byId("previous").addEventListener("click", () => setDay(previousChange(current())));
    byId("next").addEventListener("click", () => setDay(nextChange(current())));
    byId("now").addEventListener("click", () => setDay(today));
}

function listenToFilters() {
    byId("verbs").append(...verbButtons);
    byId("by").addEventListener("change", () => change({ by: byId("by").value }));
    byId("find").addEventListener("input", () => change({ find: byId("find").value }));
    byId("reasons").addEventListener("click", () => {
        shown.allOpen = !shown.allOpen;
        shown.open.clear();
        change({});
    });
    byId("more").addEventListener("click", () => {
        const next = byId("table").querySelectorAll("button.role").length;
        shown.rows += ROWS_AT_A_TIME;
        draw();
        const button = byId("table").querySelectorAll("button.role")[next];
        if (button) button.focus();
    });
}

function listenToChoices() {
    byId("scope-number").textContent = figure(scopes.length);
    byId("person-number").textContent = figure(people.length);
    for (const radio of document.querySelectorAll("input[name=list]")) {
        radio.addEventListener("change", () => showList(radio.value));
    }
    const find = byId("find-choice");
    find.addEventListener("input", () => {
        choices.find = find.value;
        choices.most = CHOICES_AT_A_TIME;
        drawChoices();
        byId("choices").scrollTop = 0;
    });
    find.addEventListener("keydown", event => {
        if (event.key === "ArrowDown") {
            event.preventDefault();
            focusChoice(0);
        } else if (event.key === "Enter" && choices.items[0]) {
            choices.items[0].link.click();
        }
    });
    byId("choices").addEventListener("keydown", moveChoice);
    byId("choices").addEventListener("click", event => {
        if (narrow.matches && event.target.closest("a")) byId("finder").open = false;
    });
    byId("more-choices").addEventListener("click", () => {
        const next = choices.items.length;
        choices.most += CHOICES_AT_A_TIME;
        drawChoices();
        focusChoice(next);
    });
}

function showList(kind) {
    choices.kind = kind;
    choices.find = "";
    choices.most = CHOICES_AT_A_TIME;
    byId("find-choice").value = "";
    byId("find-choice-label").textContent = kind === "scopes" ? "Find a scope" : "Find a person";
    byId("find-choice").placeholder = byId("find-choice-label").textContent;
    document.querySelector(`input[name=list][value=${kind}]`).checked = true;
    drawChoices();
}

const narrow = matchMedia("(max-width: 62rem)");
const fitFinder = () => { byId("finder").open = !narrow.matches || (state.scope === null && state.person === null); };

function drawForPaper(printing) {
    if (shown.printing === printing) return;
    shown.printing = printing;
    draw();
}

function follow() {
    readAddress();
    draw();
    scrollTo(0, 0);
    const focused = document.activeElement;
    if (focused === null || focused === document.body || !focused.checkVisibility()) byId("title").focus();
}

function begin() {
    const past = data.since === null ? "The audit is empty." : `The recorded past begins on ${longDay(firstDay)}.`;
    byId("made").textContent = `Made ${longTime(made)}. ${past}`;
    readAddress();
    listenToTime();
    listenToFilters();
    listenToChoices();
    fitFinder();
    narrow.addEventListener("change", fitFinder);
    document.querySelector(".skip").addEventListener("click", event => {
        event.preventDefault();
        byId("view").focus();
    });
    addEventListener("hashchange", follow);
    addEventListener("beforeprint", () => drawForPaper(true));
    addEventListener("afterprint", () => drawForPaper(false));
    matchMedia("print").addEventListener("change", event => drawForPaper(event.matches));
    shown.printing = matchMedia("print").matches;
    draw();
    showList(state.person === null ? "scopes" : "people");
}

begin();
