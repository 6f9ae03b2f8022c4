/* One patient, in the order in which a clinician asks: how much is known, what is likely, why, since when,
 * what happened, what is not known, who says so, and what the clinician says. */
import {Problem, get, patientPath} from "./api.js";
import {nameCodes} from "./codes.js";
import {el, facts} from "./dom.js";
import {feedbackSection} from "./feedback.js";
import {ageOn, bar, codeElement, excess, frequency, intervalText, legend, scaleOf, systemName, whoText} from "./risk.js";
import {count, dayNumber, dayText, hundred, nameOf, ofHundred, points, span, t, titleOf} from "./text.js";
import {timelineSection} from "./timeline.js";
import {trendSection} from "./trend.js";

const EXPLAINED = 8, SIDE = 5, GAP_DAYS = 180;

export const scope = "risks:read";

export function title() {
    return t("patient");
}

/* ---- how much is known ---- */

/* Stretches without any record, and the one since the last. */
export function gapsOf(events, asOf) {
    const days = [...new Set(events.map(event => dayNumber(event.day)))].sort((a, b) => a - b), gaps = [];
    for (let i = 1; i < days.length; i++)
        if (days[i] - days[i - 1] >= GAP_DAYS)
            gaps.push([days[i - 1], days[i]]);
    if (days.length > 0 && asOf - days.at(-1) >= GAP_DAYS)
        gaps.push([days.at(-1), asOf]);
    return gaps;
}

function gapList(gaps) {
    if (gaps.length === 0)
        return t("no_gaps");
    return el("ul", {class: "gaps"}, gaps.slice(-4).map(([from, to]) => el("li", {},
        t("gap", {from: dayText(from), to: dayText(to), length: span(to - from)}))),
    gaps.length > 4 && el("li", {}, t("more_gaps", {n: gaps.length - 4})));
}

function windowSection(patient, timeline, asOf) {
    const last = patient?.last_day, since = last ? dayNumber(asOf) - dayNumber(last) : null;
    return el("section", {"aria-labelledby": "window"}, el("h2", {id: "window"}, t("window")), facts([
        [t("record"), patient?.first_day ? t("from_to_days", {from: patient.first_day, to: last,
            length: span(dayNumber(last) - dayNumber(patient.first_day))}) : t("no_record")],
        [t("claims"), patient && count(patient.claims)], [t("events"), patient && count(patient.events)],
        [t("last_record"), since === null ? undefined : since >= 0 ? t("ago", {length: span(since)}) : last],
        [t("gaps"), timeline && gapList(gapsOf(timeline.events, dayNumber(asOf)))]], "facts wide"));
}

/* ---- what is likely ---- */

function why(risk) {
    if (risk.recorded)
        return t("already_recorded", risk.recorded);
    if (risk.reason === "short_history")
        return t("short_history", {days: count(risk.history_days), least: count(risk.min_history_days)});
    return nameOf("reason", risk.reason);
}

function riskRow(risk, scale, chosen, choose) {
    const above = excess(risk);
    return el("li", {class: chosen ? "chosen" : undefined},
        el("button", {type: "button", class: "name", "aria-pressed": String(chosen), onclick: () => choose(risk.task)},
            el("span", {class: "title"}, titleOf(risk)), el("span", {class: "soft"}, t("within", {days: risk.horizon_days}))),
        frequency(risk.probability, "main"),
        el("div", {class: "drawn"}, bar(risk, scale, 380)),
        el("div", {class: "beside"},
            Number.isFinite(risk.average_age_sex) && el("div", {}, el("b", {}, above.text), " ", t("above_average_of", {n: hundred(risk.average_age_sex)})),
            el("div", {}, t("interval_long", {range: intervalText(risk.interval)})),
            risk.similar?.n > 0 && el("div", {class: "soft"}, t("similar", {positives: count(risk.similar.positives), n: count(risk.similar.n)}))));
}

function risksSection(risks, chosen, choose) {
    const given = risks.filter(risk => risk.probability !== null), none = risks.filter(risk => risk.probability === null);
    const scale = scaleOf(given);
    return el("section", {"aria-labelledby": "risks"}, el("h2", {id: "risks"}, t("risks_year")),
        given.length > 0 ? [el("ol", {class: "risks"}, given.map(risk => riskRow(risk, scale, risk.task === chosen, choose))), legend(scale)]
            : el("p", {}, t("no_risks")),
        none.length > 0 && el("div", {class: "none"}, el("h3", {}, t("no_risk_of")),
            el("ul", {}, none.map(risk => el("li", {}, el("b", {}, titleOf(risk)), ": ", why(risk))))));
}

/* ---- why ---- */

function reasonItem(c, most) {
    const dates = c.first_day === c.last_day ? c.first_day : t("from_to_plain", {from: c.first_day, to: c.last_day});
    const meter = el("span", {class: "meter", "aria-hidden": "true"}, el("span", {}));
    meter.firstChild.style.width = `${Math.max(2, 100 * Math.abs(c.logit_change) / most)}%`;
    return el("li", {}, el("div", {class: "code"}, codeElement(c), " ", el("span", {class: "soft"}, systemName(c.system))), el("div", {class: "change"}, t("points", {n: points(c.risk_change)})), meter,
        el("div", {class: "soft"}, nameOf("kind", c.kind), " · ", dates, c.events > 1 && ` · ${t("times", {n: count(c.events)})}`));
}

function reasonsSection(risk) {
    const all = risk.contributions ?? [], most = Math.max(1e-9, ...all.map(c => Math.abs(c.logit_change)));
    const side = (heading, mark, list, none) => el("div", {class: "side"}, el("h3", {}, el("span", {class: "direction", "aria-hidden": "true"}, mark), heading),
        list.length > 0 ? el("ul", {class: "reasons"}, list.map(c => reasonItem(c, most))) : el("p", {class: "soft"}, none));
    return el("section", {"aria-labelledby": "why"}, el("h2", {id: "why"}, t("why_of", {task: titleOf(risk)})),
        el("div", {class: "sides"},
            side(t("speaks_for"), "▲", all.filter(c => c.logit_change > 0).slice(0, SIDE), t("nothing_for")),
            side(t("speaks_against"), "▼", all.filter(c => c.logit_change < 0).slice(0, SIDE), t("nothing_against"))),
        el("p", {class: "soft"}, t("why_note")));
}

/* ---- what is not known, and who says so ---- */

function unknownSection(risk, timeline) {
    const unread = (timeline?.events ?? []).filter(event => !["diagnosis", "medication"].includes(event.kind)).length;
    return el("section", {"aria-labelledby": "unknown"}, el("h2", {id: "unknown"}, t("unknown")), el("ul", {class: "plain-list"},
        el("li", {}, t("unknown_claims")), el("li", {}, t("unknown_elsewhere")),
        unread > 0 && el("li", {}, t("unknown_kinds", {n: count(unread)})),
        risk?.unmapped_codes > 0 && el("li", {}, t("unknown_codes", {n: count(risk.unmapped_codes)})),
        risk?.older_codes_left_out > 0 && el("li", {}, t("unknown_older", {n: count(risk.older_codes_left_out)})),
        el("li", {}, t("unknown_interval"))));
}

function modelSection(risk, task) {
    return el("section", {"aria-labelledby": "model"}, el("h2", {id: "model"}, t("model")), facts([
        [t("model"), el("a", {href: `#/models?${new URLSearchParams({id: risk.model.id, task: risk.task})}`}, risk.model.id)],
        [t("size"), task?.size ?? undefined], [t("version"), el("code", {title: risk.model.sha256}, risk.model.sha256.slice(0, 12))],
        [t("calibrated"), risk.calibration.date], [t("calibration"), el("code", {title: risk.calibration.id}, risk.calibration.id.slice(0, 12))],
        [t("card"), el("a", {href: `#/card?${new URLSearchParams({id: risk.model.id})}`}, t("card_link"))]], "facts wide"));
}

/* ---- the view ---- */

/* Other facilities have the same id: which is meant is asked, never guessed. */
function ambiguous(main, query, facilities) {
    main.replaceChildren(el("h1", {}, t("patient_named", {id: query.get("id")})), el("p", {}, t("which_facility")),
        el("ul", {}, facilities.map(facility => el("li", {}, el("a",
            {href: `#/patient?${new URLSearchParams({id: query.get("id"), facility})}`}, facility)))));
}

async function load(query, session, signal) {
    const id = query.get("id") ?? "", facility = query.get("facility"), as_of = query.get("as_of");
    if (id === "")
        throw new Problem("no_patient", "");
    const may = (wanted, answer) => session.has(wanted) ? answer() : Promise.resolve(null);
    const [risks, patient, timeline, tasks] = await Promise.all([
        get(patientPath(id, "/risks"), {facility, as_of, explain: EXPLAINED}, signal),
        may("patients:read", () => get(patientPath(id), {facility}, signal)),
        may("patients:read", () => get(patientPath(id, "/timeline"), {facility, as_of: as_of ?? undefined}, signal)),
        get("/v1/tasks", {}, signal)]);
    const order = risk => risk.probability === null ? -Infinity : excess(risk).value ?? risk.probability - 1;
    risks.risks.sort((a, b) => order(b) - order(a));
    return {...risks, record: patient, timeline, tasks: tasks.tasks};
}

function asOfForm(query, asOf) {
    const change = event => {
        if (!event.target.reportValidity())
            return;
        const next = new URLSearchParams(query);
        if (event.target.value)
            next.set("as_of", event.target.value);
        else
            next.delete("as_of");
        location.hash = `#/patient?${next}`;
    };
    return el("form", {class: "as-of", onsubmit: event => event.preventDefault()}, el("label", {}, el("span", {}, t("as_of")),
        el("input", {type: "date", value: asOf, min: "1800-01-01", max: "2399-12-31", onchange: change})));
}

export async function show(main, query, context) {
    let known;
    try {
        known = await load(query, context.session, context.signal);
    } catch (problem) {
        if (problem.more?.facilities)
            return ambiguous(main, query, problem.more.facilities);
        throw problem;
    }
    const {record, timeline, as_of: asOf} = known, who = known.patient, given = known.risks.filter(risk => risk.probability !== null);
    const wanted = query.get("task");
    let chosen = given.find(risk => risk.task === wanted)?.task ?? given[0]?.task;
    const ranking = el("div"), details = el("div");

    const choose = task => {
        chosen = task;
        query.set("task", task);
        history.replaceState(null, "", `#/patient?${query}`);
        draw();
        ranking.querySelector("[aria-pressed=true]")?.focus();
    };
    const draw = () => {
        const risk = given.find(one => one.task === chosen);
        ranking.replaceChildren(risksSection(known.risks, chosen, choose));
        details.replaceChildren(...[risk && reasonsSection(risk), risk && trendSection(who, risk, context),
            timeline && timelineSection(timeline, risk, asOf, gapsOf(timeline.events, dayNumber(asOf))),
            unknownSection(risk ?? known.risks[0], timeline),
            risk && modelSection(risk, known.tasks.find(task => task.name === chosen)),
            risk && feedbackSection(who, risk, context)].filter(Boolean));
        nameCodes(details, context.signal);
    };
    draw();
    const about = record && [whoText(record.sex, ageOn(record.birth_date, asOf)),
        record.birth_date && t("born", {date: record.birth_date}), record.death_date && t("died", {date: record.death_date})];
    main.replaceChildren(el("div", {class: "headline"},
        el("div", {}, el("h1", {}, t("patient_named", {id: who.id})),
            el("p", {class: "about"}, [...(about ?? []), t("facility_named", {name: who.facility})].filter(Boolean).join(" · "))), asOfForm(query, asOf)),
    record ? windowSection(record, timeline, asOf) : el("p", {class: "notice"}, t("no_scope_patients")),
    ranking, details);
}
