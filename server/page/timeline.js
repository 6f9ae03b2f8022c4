/* The claims of a patient over time, as drawn shapes: a strip a kind of event, and a row for each code that
 * weighs in the risk. Events are gathered into as many steps as can be told apart, so that 20,000
 * are drawn as fast as 20. */
import {drawing, el, followWidth, scrolling, svg, table} from "./dom.js";
import {codeElement, systemName} from "./risk.js";
import {count, dayNumber, dayText, nameOf, t} from "./text.js";

const KINDS = ["diagnosis", "medication", "procedure", "lab", "encounter", "death"];
const STRIP = 34, ROW = 22, LEFT = 132, RIGHT = 56, TOP = 24, STEPS = 180, CODES = 8, LISTED = 200;

function shape(kind, x, y) {
    return kind === "medication" ? svg("path", {class: "mark", d: `M${x} ${y - 5}l5 5l-5 5l-5 -5z`})
        : svg("circle", {class: "mark", cx: x, cy: y, r: 4});
}

/* How many events of a kind fall into each step. */
function histogram(events, place) {
    const steps = new Map();
    for (const event of events)
        steps.set(place(event), (steps.get(place(event)) ?? 0) + 1);
    return steps;
}

function years(first, last, x, bottom) {
    const from = Number(dayText(first).slice(0, 4)) + 1, to = Number(dayText(last).slice(0, 4)), every = Math.ceil((to - from + 1) / 12), marks = [];
    for (let year = from; year <= to; year++) {
        if ((to - year) % every !== 0)
            continue;
        const at = x(dayNumber(`${year}-01-01`));
        marks.push(svg("path", {class: "grid", d: `M${at} ${TOP - 6}V${bottom}`}), svg("text", {x: at + 3, y: TOP - 10}, String(year)));
    }
    return marks;
}

function gapShades(gaps, x, bottom) {
    return gaps.map(([from, to]) => svg("g", {class: "gap"},
        svg("rect", {x: x(from), y: TOP, width: Math.max(1, x(to) - x(from)), height: bottom - TOP}),
        x(to) - x(from) > 60 && svg("text", {x: (x(from) + x(to)) / 2, y: bottom - 5, "text-anchor": "middle"}, t("no_claims"))));
}

function strip(events, kind, y, place, width) {
    const steps = histogram(events, place), most = Math.max(...steps.values()), step = width / STEPS;
    return svg("g", {}, svg("text", {x: 0, y: y + STRIP - 8, class: "lane"}, nameOf("kind", kind)),
        svg("path", {class: "base", d: `M${LEFT} ${y + STRIP - 4}h${width}`}),
        svg("path", {class: `bars ${kind}`, d: [...steps].map(([at, n]) => {
            const height = Math.max(2, (STRIP - 8) * Math.sqrt(n / most));
            return `M${(LEFT + at * step).toFixed(1)} ${y + STRIP - 4}v${(-height).toFixed(1)}h${Math.max(1.2, step - 0.8).toFixed(1)}v${height.toFixed(1)}z`;
        }).join("")}),
        svg("text", {x: LEFT + width + RIGHT, y: y + STRIP - 8, "text-anchor": "end", class: "total"}, count(events.length)));
}

/* The vocabulary cuts codes off: events of longer ones belong to the row, too. */
function codeRow(c, events, y, x, place, width) {
    const own = events.filter(event => event.kind === c.kind && event.system === c.system && event.code.replaceAll(".", "").startsWith(c.code));
    const at = new Map(own.map(event => [place(event), dayNumber(event.day)]));
    return svg("g", {}, svg("text", {x: 0, y: y + ROW / 2 + 4, class: "lane"}, `${c.logit_change > 0 ? "▲" : "▼"} ${c.code}`),
        svg("path", {class: "base", d: `M${LEFT} ${y + ROW / 2}h${width}`}),
        [...at.values()].map(day => shape(c.kind, x(day), y + ROW / 2)),
        svg("text", {x: LEFT + width + RIGHT, y: y + ROW / 2 + 4, "text-anchor": "end", class: "total"}, count(own.length)));
}

function picture(events, codes, asOf, gaps, fullWidth) {
    const days = events.map(event => dayNumber(event.day)), last = asOf;
    const first = Math.min(days.reduce((a, b) => Math.min(a, b), last), last - 365), width = fullWidth - LEFT - RIGHT;
    const x = day => LEFT + width * (day - first) / (last - first);
    const place = event => Math.max(0, Math.min(STEPS - 1, Math.floor(STEPS * (dayNumber(event.day) - first) / (last - first + 1))));
    const byKind = new Map(KINDS.map(kind => [kind, events.filter(event => event.kind === kind)]));
    const kinds = KINDS.filter(kind => byKind.get(kind).length > 0);
    const bottom = TOP + kinds.length * STRIP + codes.length * ROW + (codes.length > 0 ? 10 : 0);
    const strips = kinds.map((kind, i) => strip(byKind.get(kind), kind, TOP + i * STRIP, place, width));
    const rows = codes.map((c, i) => codeRow(c, events, TOP + kinds.length * STRIP + 10 + i * ROW, x, place, width));
    const label = t("timeline_label", {from: dayText(first), to: dayText(last),
        kinds: kinds.map(kind => `${nameOf("kind", kind)} ${count(byKind.get(kind).length)}`).join(", ")});
    return drawing(fullWidth, bottom + 6, label, gapShades(gaps, x, bottom), years(first, last, x, bottom), strips, rows,
        svg("path", {class: "now", d: `M${x(last)} ${TOP - 6}V${bottom}`}));
}

function list(events) {
    const newest = events.toSorted((a, b) => a.day < b.day ? 1 : a.day > b.day ? -1 : 0).slice(0, LISTED);
    return el("details", {}, el("summary", {}, t("newest_events", {n: count(newest.length), all: count(events.length)})),
        scrolling(t("newest_events", {n: count(newest.length), all: count(events.length)}), table({caption: t("timeline"), hidden_caption: true, name: "left",
            headings: [t("day"), t("kind"), t("code"), t("system"), t("setting"), t("value")],
            rows: newest.map(event => ({cells: [{content: event.day, header: true}, nameOf("kind", event.kind),
                [codeElement(event), event.suspected ? ` (${t("suspected")})` : ""], systemName(event.system),
                nameOf("setting", event.setting), event.value ?? ""]}))})));
}

export function timelineSection(timeline, risk, asOf, gaps) {
    const {events} = timeline, codes = (risk?.contributions ?? []).filter(c => c.code).slice(0, CODES), host = el("div", {class: "timeline", role: "group", "aria-label": t("timeline"), tabindex: 0});
    const section = el("section", {"aria-labelledby": "timeline"}, el("h2", {id: "timeline"}, t("timeline")));
    if (events.length === 0) {
        section.append(el("p", {}, t("no_events")));
        return section;
    }
    let drawn = 0;
    followWidth(host, room => {
        const width = Math.max(520, Math.round(room));
        if (width !== drawn) {
            drawn = width;
            host.replaceChildren(picture(events, codes, dayNumber(asOf), gaps, width));
        }
    });
    section.append(host, el("p", {class: "soft"}, codes.length > 0 ? t("timeline_note") : t("timeline_note_plain")), list(events));
    return section;
}
