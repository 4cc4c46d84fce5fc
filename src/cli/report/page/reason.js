// The reason for a role, as a chain from the role back to what caused it.

const step = (name, ...content) => el("li", null, el("span", { class: "step" }, name), el("div", null, ...content));
const line = (...content) => el("p", null, ...content);
const softly = (...content) => el("p", { class: "soft" }, ...content);

/** From the role back to what caused it. */
function chain(span) {
    const steps = [endStep(span), roleStep(span), state.person === null ? holderStep(span) : null];
    if (span.through) {
        const group = line("The group ", foreign(span.through), " has the role; this is one of its members.");
        steps.push(step("Entra group", group));
    }
    if (span.ours) steps.push(...ourSteps(span));
    else steps.push(othersStep(span));
    return el("ol", { class: "chain" }, steps);
}

function roleStep(span) {
    const place = places[span.at];
    return step("Role",
        line(foreign(span.role), " at ", foreign(place.name)),
        isSubject(place) ? null : line(code(place.id)),
        span.reach.length === 1 && scopes[span.reach[0]].id === place.id ? null : softly("reaches ", reached(span, 12)),
        span.can === null ? line("The role could not be read: it may give anything.") : null,
        span.conditional ? line("A condition narrows it.") : null);
}

function holderStep(span) {
    const person = people[span.p];
    return step("Held by",
        line(foreign(nameOf(person)), kind(person)),
        line(ids(person)),
        person.kind === "Group" ? softly("Each of its members has the role.") : null);
}

function ourSteps(span) {
    const { bindings, reasons, cause, actor, op, confirmed } = span.ours;
    const steps = bindings.length === 0 ? [] : [step(bindings.length === 1 ? "Binding" : "Bindings",
        bindings.map(binding => line(foreign(binding))))];
    if (reasons.length > 0) steps.push(step("Group path", reasons.map(reason => line(foreign(pathOf(reason, bindings))))));
    if (op || cause) {
        steps.push(step("Caused by",
            line(CAUSES.has(cause) ? sentence(CAUSES.get(cause)) : foreign(cause), " ", foreign(actor)),
            line(longTime(span.from)),
            op ? line(code(`operation ${op}`)) : null,
            confirmed ? null : line("Azure has not confirmed it yet. While a call may have landed, it counts as held.")));
    } else {
        steps.push(step("Caused by", line("This service made it, and has no record of it any more.")));
    }
    return steps;
}

/** A reason ends with its binding, which has a step of its own where there is one. */
function pathOf(reason, bindings) {
    const end = ` of binding ${bindings[0]}`;
    return bindings.length === 1 && reason.endsWith(end) ? reason.slice(0, -end.length) : reason;
}

function othersStep(span) {
    const { createdBy, createdOn, firstSeen } = span.others || {};
    const parts = [];
    if (createdBy || createdOn) {
        parts.push("made", createdBy ? [" by ", foreign(createdBy)] : "",
            createdOn ? ` on ${longDay(dayOf(Date.parse(createdOn)))}` : "");
    }
    if (firstSeen) parts.push(parts.length ? ", " : "", `first seen on ${longDay(dayOf(Date.parse(firstSeen)))}`);
    return step("Caused by",
        line("Not made by this service", parts.length ? ": " : "", parts.flat()),
        span.live ? softly("Azure shows it now; it has no recorded past.") : null);
}

/** How it ended, or is about to. */
function endStep(span) {
    const taken = span.ours ? span.ours.taken : null;
    if (span.until === null && !taken) return null;
    return step(span.until === null ? "Being taken" : "Ended",
        span.until === null ? null : line(longTime(span.until)),
        taken ? taken.reasons.map(reason => line(foreign(reason))) : null,
        taken && taken.actor ? line("by ", foreign(taken.actor)) : null,
        taken && taken.op ? line(code(`operation ${taken.op}`)) : null,
        span.ours ? null : softly("as a sweep saw it, at most an hour late"));
}

/** The scopes that it reaches, by name. */
function reached(span, most) {
    if (scopes.length > 1 && span.reach.length === scopes.length) return `all ${scopes.length} scopes`;
    const names = span.reach.slice(0, most).flatMap((scope, at) => [at ? ", " : "", foreign(scopes[scope].name)]);
    const more = span.reach.length - most;
    return more > 0 ? [...names, ` and ${plural(more, "other", "others")}`] : names;
}
