/* The worklist: whose risk lies highest above the average of the same age and sex. */
import {get} from "./api.js";
import {nameCodes} from "./codes.js";
import {el, facts, scrolling, table} from "./dom.js";
import {aligned, bar, codeElement, excess, frequency, intervalText, legend, scaleOf, systemName, whoText} from "./risk.js";
import {count, hundred, instant, nameOf, points, t, titleOf} from "./text.js";

const ROWS = 50;
const FILTERS = ["task", "facility", "age_min", "age_max", "sort"];

export const scope = "risks:read";

export function title() {
    return t("worklist");
}

/* ---- the filter ---- */

function choice(name, label, options, chosen) {
    return el("label", {}, el("span", {}, label), el("select", {name},
        options.map(([value, text]) => el("option", {value, selected: value === (chosen ?? "")}, text))));
}

function age(name, label, value) {
    return el("label", {class: "short"}, el("span", {}, label),
        el("input", {name, type: "number", min: 0, max: 150, inputmode: "numeric", value}));
}

function filterForm(query, tasks) {
    return el("form", {class: "filter", "aria-label": t("filter"), onsubmit: event => event.preventDefault()},
        choice("task", t("task"), [["", t("all_tasks")], ...tasks.map(task => [task.name, titleOf(task)])], query.get("task")),
        choice("facility", t("facility"), [["", t("all_facilities")]], ""),
        age("age_min", t("age_from"), query.get("age_min")), age("age_max", t("age_to"), query.get("age_max")),
        choice("sort", t("order"), [["excess", t("order_excess")], ["probability", t("order_probability")]], query.get("sort") ?? "excess"));
}

/* Facilities come with the first answer; one of the address stays even where the store lacks it. */
function offerFacilities(form, names, chosen) {
    const select = form.elements.facility, known = new Set([...select.options].map(option => option.value));
    for (const name of chosen && !names.includes(chosen) ? [chosen, ...names] : names)
        if (!known.has(name))
            select.append(el("option", {value: name, selected: name === chosen}, name));
}

/* ---- what is said about the scores ---- */

function standing(answer) {
    const left = Object.entries(answer.left_out_reasons);
    return el("details", {class: "standing"},
        el("summary", {}, t("standing", {at: instant(answer.scored_at), stale: count(answer.stale),
            unscored: count(answer.unscored), left: count(answer.left_out)})),
        facts([[t("scored"), count(answer.scored)], [t("scored_at"), instant(answer.scored_at)],
            [t("oldest_scored_at"), instant(answer.oldest_scored_at)], [t("stale_scores"), count(answer.stale)],
            [t("unscored"), count(answer.unscored)]]),
        left.length > 0 && el("h2", {}, t("left_out")),
        left.length > 0 && facts(left.map(([reason, n]) => [nameOf("reason", reason), count(n)])));
}

/* ---- rows ---- */

function contributionList(contributions) {
    if (contributions.length === 0)
        return el("span", {class: "soft none-kept"}, "–");
    return el("ul", {class: "codes"}, contributions.map(c => el("li",
        {title: t("contribution_title", {system: systemName(c.system), change: points(c.risk_change)})},
        el("span", {class: "direction", "aria-label": c.logit_change > 0 ? t("for") : t("against")}, c.logit_change > 0 ? "▲" : "▼"),
        codeElement(c))));
}

export function patientAddress(row) {
    return `#/patient?${new URLSearchParams({id: row.patient, facility: row.facility, task: row.task})}`;
}

function rowOf(row, scale, titles) {
    return {cells: [
        {content: [el("a", {href: patientAddress(row)}, row.patient), el("div", {class: "soft"}, row.facility)], header: true, class: "who"},
        {content: whoText(row.sex, row.age), class: "plain", label: t("age_sex")},
        {content: titles.get(row.task) ?? row.task, class: "task", label: t("risk_of")},
        {content: [frequency(row.probability, "main"), row.stale && el("span", {class: "badge"}, t("stale"))], class: "number"},
        {content: [bar(row, scale, 220), el("div", {class: "soft between"}, t("interval_short", {range: intervalText(row.interval)}))], class: "drawn"},
        {content: Number.isFinite(row.average_age_sex) ? aligned(hundred(row.average_age_sex)) : "–", class: "number", label: t("average")},
        {content: el("b", {}, aligned(excess(row).text)), class: "number", label: t("above_average")},
        {content: contributionList(row.contributions), class: "plain", label: t("most_weight")}]};
}

function rows(answer, titles) {
    const scale = scaleOf(answer.risks);
    return [legend(scale), scrolling(t("worklist"), table({
        caption: t("worklist_caption"), hidden_caption: true, name: "worklist",
        headings: [t("patient"), t("age_sex"), t("risk_of"), {text: t("risk"), class: "number"}, t("bar_heading", {n: hundred(scale)}),
            {text: t("average"), class: "number"}, {text: t("above_average"), class: "number"}, t("most_weight")],
        rows: answer.risks.map(row => rowOf(row, scale, titles))}))];
}

function nothing(answer) {
    const reason = answer.scored > 0 ? "nothing_matches" : answer.unscored > 0 ? "not_yet_scored" : answer.left_out > 0 ? "all_left_out" : "empty_store";
    return el("div", {class: "empty"}, el("p", {}, t(reason)), reason === "empty_store" && el("p", {}, el("code", {}, "rezept push claims.ndjson")));
}

function pager(offset, answer, go) {
    const to = (label, start, usable) => el("button", {type: "button", disabled: !usable, onclick: () => go(start)}, label);
    return el("nav", {class: "pager", "aria-label": t("pages")},
        to(t("previous"), Math.max(0, offset - ROWS), offset > 0),
        el("span", {}, t("rows_of", {from: count(offset + 1), to: count(offset + answer.risks.length), all: count(answer.matching)})),
        to(t("next"), offset + ROWS, offset + answer.risks.length < answer.matching));
}

/* ---- the view ---- */

export async function show(main, query, {signal, failure}) {
    const {tasks} = await get("/v1/tasks", {}, signal);
    const titles = new Map(tasks.map(task => [task.name, titleOf(task)]));
    const form = filterForm(query, tasks), results = el("div", {class: "results"});
    const found = el("p", {class: "found", role: "status"}), state = el("div");
    let offset = Number(query.get("offset")) || 0;

    const load = async () => {
        const asked = Object.fromEntries(FILTERS.map(name => [name, form.elements[name].value || query.get(name) || ""]));
        results.setAttribute("aria-busy", "true");
        try {
            const answer = await get("/v1/risks", {...asked, limit: ROWS, offset}, signal);
            offerFacilities(form, answer.facilities, asked.facility);
            found.replaceChildren(t("found", {n: count(answer.matching)}));
            state.replaceChildren(standing(answer));
            results.replaceChildren(...(answer.risks.length === 0 ? [nothing(answer)]
                : [rows(answer, titles), pager(offset, answer, turn)].flat()));
            nameCodes(results, signal);
        } catch (problem) {
            failure(results, problem, load);
        }
        results.removeAttribute("aria-busy");
    };
    const remember = () => {
        const kept = FILTERS.map(name => [name, form.elements[name].value]).concat([["offset", offset || ""]])
            .filter(([name, value]) => value !== "" && !(name === "sort" && value === "excess"));
        query = new URLSearchParams(kept);
        history.replaceState(null, "", kept.length > 0 ? `#/worklist?${query}` : "#/worklist");
    };
    const turn = start => {
        offset = start;
        remember();
        return load().then(() => results.querySelector("a")?.focus());
    };
    form.addEventListener("change", () => {
        if (!form.reportValidity())
            return;
        offset = 0;
        remember();
        load();
    });
    main.replaceChildren(el("div", {class: "headline"}, el("h1", {}, t("worklist")), found), form, state, results);
    await load();
}
