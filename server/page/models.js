/* A model as those see it who must decide whether to trust it: what it foretold beside what came, what
 * acting on it is worth, how far patients have moved, and which study chose it. */
import {get} from "./api.js";
import {BAND, BLUE, INK, SOFT, axis, plot, segment} from "./charts.js";
import {drawing, el, facts, scrolling, svg, table} from "./dom.js";
import {intervalText} from "./risk.js";
import {count, decimals, hundred, instant, nameOf, t, titleOf} from "./text.js";

export const scope = "risks:read";

export function title() {
    return t("models");
}

const interval = (value, digits) => value && Number.isFinite(value.value)
    ? [el("b", {}, decimals(value.value, digits)), " ", el("span", {class: "soft"}, t("from_to", {low: decimals(value.low, digits), high: decimals(value.high, digits)}))] : "–";

/* ---- foretold and observed ---- */

function calibrationPlot(bins, band) {
    const known = bins.filter(bin => Number.isFinite(bin.predicted) && Number.isFinite(bin.observed));
    const shown = known.flatMap(bin => [bin.predicted, bin.high]).concat(0.02), end = 100 * Math.min(1, 1.05 * Math.max(...shown));
    const inside = (band ?? []).filter(point => 100 * point.predicted <= end);
    const xs = [...new Set([0, end, ...known.map(b => 100 * b.predicted), ...inside.map(b => 100 * b.predicted)])].sort((a, b) => a - b);
    const column = (rows, pick) => {
        const at = new Map(rows.map(row => [100 * row.predicted, 100 * row[pick]]));
        return xs.map(x => at.get(x) ?? null);
    };
    return plot(t("calibration_label"), 320, {width_max: 440, padding: [10, 12, 0, 0],
        scales: {x: {time: false, range: [0, end]}, y: {range: [0, end]}},
        axes: [axis(t("foretold_axis"), {size: 30}), axis(t("observed_axis"))],
        series: [{}, {stroke: "transparent", points: {show: false}, spanGaps: true}, {stroke: "transparent", points: {show: false}, spanGaps: true},
            {paths: () => null, points: {show: true, size: 9, stroke: BLUE, fill: BLUE}}],
        bands: [{series: [2, 1], fill: BAND}],
        hooks: {drawAxes: [u => segment(u, [0, 0], [end, end], {dash: [5, 4]})],
            draw: [u => known.forEach(bin => segment(u, [100 * bin.predicted, 100 * bin.low], [100 * bin.predicted, 100 * bin.high], {color: INK, width: 1.5}))]}},
    [xs, column(inside, "low"), column(inside, "high"), column(known, "observed")]);
}

function calibrationTable(bins) {
    return table({caption: t("calibration_caption"), hidden_caption: true,
        headings: [t("foretold"), t("observed"), t("interval"), t("patients"), t("outcomes")],
        rows: bins.map(bin => ({cells: [
            {content: Number.isFinite(bin.predicted) ? hundred(bin.predicted) : t("from_to", {low: hundred(bin.from), high: hundred(bin.to)}), header: true},
            Number.isFinite(bin.observed) ? hundred(bin.observed) : null, Number.isFinite(bin.low) ? intervalText([bin.low, bin.high]) : null,
            count(bin.n), count(bin.positives)]}))});
}

function calibration(figures) {
    const bins = figures?.bins;
    return el("div", {class: "figure"}, el("h4", {}, t("calibration_heading")), bins
        ? [bins.some(bin => Number.isFinite(bin.predicted)) && calibrationPlot(bins, figures.band), scrolling(t("calibration_caption"), calibrationTable(bins))]
        : el("p", {class: "soft"}, t("not_kept")));
}

/* ---- what acting on it is worth ---- */

function decision(figures) {
    const curve = figures?.decision_curve, heading = el("h4", {}, t("decision_heading"));
    if (!curve || curve.length < 2)
        return el("div", {class: "figure"}, heading, el("p", {class: "soft"}, t("not_kept")));
    const thousand = 1000, xs = curve.map(point => 100 * point.threshold);
    const high = Math.max(...curve.map(point => point.model)) * thousand, low = Math.min(0, ...curve.map(point => point.model)) * thousand;
    const line = (stroke, dash, points) => ({stroke, dash, width: 2, points: {show: points, size: 7, fill: stroke}});
    return el("div", {class: "figure"}, heading,
        plot(t("decision_label"), 320, {width_max: 440, padding: [10, 12, 0, 0],
            scales: {x: {time: false, range: [0, 1.05 * Math.max(...xs)]}, y: {range: [Math.min(-0.25 * high, 1.1 * low), 1.15 * high || 1]}},
            axes: [axis(t("threshold_axis"), {size: 30}), axis(t("benefit_axis"))],
            series: [{}, line(SOFT, [6, 4], false), line(BLUE, [], true)],
            hooks: {drawAxes: [u => segment(u, [0, 0], [u.scales.x.max, 0], {color: INK})]}},
        [xs, curve.map(point => thousand * point.treat_all), curve.map(point => thousand * point.model)]),
        el("ul", {class: "legend"}, legendLine("line", t("this_model")), legendLine("line dashed", t("treat_all")), legendLine("line thin", t("treat_none"))),
        el("details", {}, el("summary", {}, t("as_table")), scrolling(t("decision_heading"), table({caption: t("decision_heading"), hidden_caption: true,
            headings: [t("threshold_axis"), t("treated"), t("true_positives"), t("this_model"), t("treat_all")],
            rows: curve.map(point => ({cells: [{content: hundred(point.threshold), header: true}, count(point.treated), count(point.true_positives),
                decimals(thousand * point.model, 1), decimals(thousand * point.treat_all, 1)]}))}))),
        el("p", {class: "soft"}, t("decision_note")));
}

function legendLine(name, text) {
    return el("li", {}, svg("svg", {viewBox: "0 0 34 16", width: 34, height: 16, "aria-hidden": "true"}, svg("path", {class: name, d: "M1 8H33"})), text);
}

/* ---- how far patients and outcomes have moved ---- */

function driftBar(value) {
    const x = psi => 6 + 188 * Math.min(1, psi / 0.4);
    return drawing(200, 22, decimals(value), svg("rect", {class: "track", x: 6, y: 6, width: 188, height: 10, rx: 2}),
        svg("rect", {class: "filled", x: 6, y: 6, width: Math.max(1.5, x(value) - 6), height: 10, rx: 2}),
        [0.1, 0.25].map(limit => svg("path", {class: "whisker", d: `M${x(limit)} 2V20`})));
}

function drift(d) {
    if (!d)
        return el("p", {class: "soft"}, t("no_drift"));
    const {calibration: oe} = d, word = psi => t(psi < 0.1 ? "drift_little" : psi < 0.25 ? "drift_some" : "drift_much");
    return [table({caption: t("drift_caption", {n: count(d.patients)}), headings: [t("drift_of"), {text: "PSI", class: "with-bar"}, t("drift_word")],
        rows: Object.entries(d.input_psi).map(([name, psi]) => ({cells: [{content: nameOf("drift", name), header: true},
            {content: [decimals(psi), psi === null ? "" : driftBar(psi)], class: "with-bar"}, psi === null ? t("drift_too_few") : word(psi)]}))}),
    el("p", {class: "soft"}, t("drift_note")),
    facts([[t("oe"), oe.oe_ratio === null ? nameOf("oe", oe.reason) : el("b", {}, decimals(oe.oe_ratio))], ...(oe.computed_at === null ? []
        : [[t("oe_observed"), count(oe.observed)], [t("oe_expected"), decimals(oe.expected, 1)], [t("patients"), count(oe.patients)],
            [t("oe_from"), oe.index_from ? t("from_to_plain", {from: oe.index_from, to: oe.index_to}) : undefined],
            [t("computed_at"), instant(oe.computed_at)]])], "facts wide")];
}

/* ---- one task of a model ---- */

function measures(metrics) {
    if (!metrics)
        return undefined;
    return facts([["AUROC", interval(metrics.auroc)], [t("auroc_age_sex"), interval(metrics.age_sex?.auroc)],
        [t("average_precision"), interval(metrics.average_precision)], ["Brier", interval(metrics.brier, 3)],
        [t("oe_tuning"), interval(metrics.observed_to_expected)],
        [t("tuning_patients"), metrics.n === undefined ? undefined : t("patients_positive", {n: count(metrics.n), positives: count(metrics.positives)})]], "facts wide");
}

function taskSection(name, c, d, open) {
    return el("details", {class: "task", open}, el("summary", {}, el("h3", {}, titleOf(c, name)), el("span", {class: "soft"},
        c.metrics?.auroc ? `AUROC ${decimals(c.metrics.auroc.value)}` : "", " · ", t("calibrated_on", {date: c.date}))),
    measures(c.metrics), el("p", {class: "soft"}, t("tuning_note")),
    el("div", {class: "figures"}, calibration(c.figures), decision(c.figures)),
    el("h4", {}, t("drift")), scrolling(t("drift"), drift(d)));
}

function modelView(model, task) {
    const all = Object.entries(model.calibrations);
    return [facts([[t("state"), [nameOf("state", model.state), model.reason ? `: ${model.reason}` : ""]], [t("family"), model.family], [t("size"), model.size],
        [t("parameters"), model.parameters && count(model.parameters)], [t("precision"), model.precision],
        [t("version"), model.sha256 && el("code", {title: model.sha256}, model.sha256.slice(0, 12))], [t("loaded_at"), model.loaded_at && instant(model.loaded_at)],
        [t("card"), model.state === "ready" ? el("a", {href: `#/card?${new URLSearchParams({id: model.id})}`}, t("card_link")) : undefined]], "facts wide"),
    all.map(([name, c], i) => taskSection(name, c, model.drift[name], task ? name === task : i === 0)),
    all.length === 0 && el("p", {class: "soft"}, model.onset ? t("onset_model", {n: count(model.onset.codes)}) : t("no_tasks"))];
}

/* ---- the study that chose ---- */

function sizeRows(entry, titles) {
    const sizes = entry.evidence?.sizes ?? [];
    if (sizes.length === 0)
        return [{cells: [{content: titles.get(entry.task) ?? entry.task, header: true}, entry.size, entry.model, null, null, null, entry.why ?? t("by_hand")]}];
    return sizes.map((size, i) => ({class: size.size === entry.size ? "chosen" : undefined, cells: [
        i === 0 ? {content: titles.get(entry.task) ?? entry.task, header: true} : "", size.size, size.size === entry.size ? el("b", {}, `✓ ${entry.model}`) : "",
        interval(size.average_precision, 3), interval(size.auroc, 3), size.parameters ? count(size.parameters) : null, size.size === entry.size ? entry.why ?? "" : ""]}));
}

async function study(host, titles, {signal, failure}) {
    try {
        const answer = await get("/v1/study", {}, signal);
        host.replaceChildren(scrolling(t("study_caption"), table({caption: t("study_caption"), hidden_caption: true, name: "left",
            headings: [t("task"), t("size"), t("chosen_model"), t("average_precision"), "AUROC", t("parameters"), t("why_chosen")],
            rows: answer.tasks.flatMap(entry => sizeRows(entry, titles))})));
    } catch (problem) {
        if (problem.status === 404)
            host.replaceChildren(el("p", {class: "soft"}, t("no_study")), el("p", {class: "soft"}, problem.message));
        else
            failure(host, problem, () => study(host, titles, {signal, failure}));
    }
    host.removeAttribute("aria-busy");
}

export async function show(main, query, context) {
    const [{models}, {tasks}] = await Promise.all([get("/v1/models", {}, context.signal), get("/v1/tasks", {}, context.signal)]);
    const answering = new Set(tasks.map(task => task.model));
    models.sort((a, b) => answering.has(b.id) - answering.has(a.id) || (a.id < b.id ? -1 : 1));
    const id = query.get("id") ?? models[0]?.id, evidence = el("div", {"aria-busy": "true"}), titles = new Map(tasks.map(task => [task.name, titleOf(task)]));
    main.replaceChildren(el("h1", {}, t("models")));
    if (id === undefined) {
        main.append(el("p", {class: "empty"}, t("no_models")));
        return;
    }
    const model = await get(`/v1/models/${encodeURIComponent(id)}`, {}, context.signal);
    main.append(el("nav", {class: "tabs", "aria-label": t("models")}, el("ul", {}, models.map(one => el("li", {}, el("a",
        {href: `#/models?${new URLSearchParams({id: one.id})}`, "aria-current": one.id === id ? "page" : undefined},
        one.id, el("span", {class: "soft"}, answering.has(one.id) ? t("answers") : nameOf("state", one.state))))))),
    el("section", {"aria-labelledby": "this-model"}, el("h2", {id: "this-model"}, id), modelView(model, query.get("task"))),
    el("section", {"aria-labelledby": "study"}, el("h2", {id: "study"}, t("study")), evidence));
    study(evidence, titles, context);
}
