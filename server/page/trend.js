/* How the risk of one task came to be what it is: a point a month, with its interval, the average of age
 * and sex, and where another model began to answer. */
import {get, patientPath} from "./api.js";
import {BAND, BLUE, ORANGE, SOFT, axis, caption, plot, segment} from "./charts.js";
import {el, scrolling, svg, table} from "./dom.js";
import {intervalText} from "./risk.js";
import {dayNumber, dayText, hundred, nameOf, t, titleOf} from "./text.js";

const MONTHS = [12, 24, 60];

function columns(points) {
    const hundredths = pick => points.map(point => {
        const value = point.probability === null ? null : pick(point);
        return Number.isFinite(value) ? 100 * value : null;
    });
    const of = source => hundredths(point => point.source === source ? point.probability : null);
    return [points.map(point => dayNumber(point.as_of)), hundredths(point => point.average_age_sex),
        hundredths(point => point.interval?.[0]), hundredths(point => point.interval?.[1]),
        hundredths(point => point.probability), of("kept"), of("recomputed")];
}

/* Not more month names than fit, and none twice. */
function monthSplits(days, width) {
    const months = days.filter((day, i) => i + 1 === days.length || dayText(day).slice(0, 7) !== dayText(days[i + 1]).slice(0, 7));
    const step = Math.ceil(months.length / Math.max(2, Math.floor(width / 70)));
    return months.filter((day, i) => (months.length - 1 - i) % step === 0);
}

function drawChanges(u, changes) {
    for (const change of changes) {
        const x = dayNumber(change.date) - 3;
        segment(u, [x, u.scales.y.min], [x, u.scales.y.max], {color: ORANGE, width: 1.5, dash: [5, 4]});
        const at = u.valToPos(x, "x", true), late = at > u.bbox.left + 0.7 * u.bbox.width;
        caption(u, t("model_change"), at + (late ? -5 : 5), u.bbox.top + 2, late ? "right" : "left");
    }
}

function chart(trend, title) {
    const data = columns(trend.points), days = data[0], highest = Math.max(1, ...data.slice(1).flat().filter(v => v !== null));
    const dots = (stroke, fill, size) => ({paths: () => null, points: {show: true, size, width: 2, stroke, fill}});
    return plot(t("trend_label", {task: title}), 260, {
        padding: [10, 16, 0, 0],
        scales: {x: {time: false, range: [days[0] - 12, days.at(-1) + 12]}, y: {range: [0, 1.08 * highest]}},
        axes: [axis(undefined, {splits: u => monthSplits(days, u.width - 70), size: 32,
            values: (u, splits) => splits.map(day => dayText(day).slice(0, 7)), grid: {show: false}}), axis(t("of_hundred_axis"))],
        series: [{}, {stroke: SOFT, dash: [6, 4], width: 1.5, points: {show: false}, spanGaps: true},
            {stroke: "transparent", points: {show: false}}, {stroke: "transparent", points: {show: false}},
            {stroke: BLUE, width: 2, points: {show: false}, spanGaps: true}, dots(BLUE, BLUE, 9), dots(BLUE, "#fff", 9)],
        bands: [{series: [3, 2], fill: BAND}],
        hooks: {draw: [u => drawChanges(u, trend.model_changes)]}}, data);
}

function legend(trend) {
    const sample = (...shapes) => svg("svg", {viewBox: "0 0 34 16", width: 34, height: 16, "aria-hidden": "true"}, shapes);
    const line = name => svg("path", {class: name, d: "M1 8H33"}), has = source => trend.points.some(p => p.source === source && p.probability !== null);
    return el("ul", {class: "legend"},
        has("kept") && el("li", {}, sample(line("line"), svg("circle", {class: "dot", cx: 17, cy: 8, r: 4.5})), t("source_kept")),
        has("recomputed") && el("li", {}, sample(line("line"), svg("circle", {class: "dot hollow", cx: 17, cy: 8, r: 4})), t("source_recomputed")),
        el("li", {}, sample(svg("rect", {class: "band", x: 1, y: 2, width: 32, height: 12})), t("legend_interval")),
        el("li", {}, sample(line("line dashed")), t("legend_average")),
        trend.model_changes.length > 0 && el("li", {}, sample(svg("path", {class: "line change", d: "M17 1V15"})), t("model_change")));
}

function numbers(trend) {
    return el("details", {}, el("summary", {}, t("as_table")), scrolling(t("trend"), table({caption: t("trend"), hidden_caption: true,
        headings: [t("as_of"), t("of_hundred_axis"), t("interval"), t("average"), t("source"), t("model")],
        rows: trend.points.toReversed().map(point => ({cells: [{content: point.as_of, header: true},
            point.probability === null ? nameOf("reason", point.reason) : hundred(point.probability),
            point.interval && intervalText(point.interval), Number.isFinite(point.average_age_sex) ? hundred(point.average_age_sex) : null,
            nameOf("source", point.source), point.model && (point.model.id ?? point.model.sha256.slice(0, 12))]}))})));
}

/* The section asks for itself: it is the slowest part of the page and the rest need not wait. */
export function trendSection(who, risk, {signal, failure}) {
    const body = el("div", {"aria-busy": "true"}, el("p", {class: "soft"}, t("loading"))), title = titleOf(risk);
    const load = async months => {
        try {
            const trend = await get(patientPath(who.id, "/trend"), {facility: who.facility, task: risk.task, months}, signal);
            const some = trend.points.some(point => point.probability !== null);
            body.replaceChildren(...(some ? [chart(trend, title), legend(trend), numbers(trend)] : [el("p", {}, t("no_trend")), numbers(trend)]));
        } catch (problem) {
            failure(body, problem, () => load(months));
        }
        body.removeAttribute("aria-busy");
    };
    load(MONTHS[0]);
    return el("section", {"aria-labelledby": "trend"}, el("div", {class: "headline"}, el("h2", {id: "trend"}, t("trend_of", {task: title})),
        el("label", {class: "small"}, el("span", {}, t("how_long")), el("select", {onchange: event => load(event.target.value)},
            MONTHS.map(n => el("option", {value: n}, t("months", {n})))))), body);
}
