/* A risk as all views show it: "n of 100", a bar with its interval and the average, and names. */
import {codeKey} from "./codes.js";
import {drawing, el, svg} from "./dom.js";
import {hundred, nameOf, ofHundred, points, t} from "./text.js";

const SYSTEMS = {icd10: "ICD-10", icd10cm: "ICD-10-CM", icd9cm: "ICD-9-CM", atc: "ATC", yj: "YJ", hot: "HOT", ndc: "NDC",
    rxnorm: "RxNorm", snomed: "SNOMED CT", loinc: "LOINC", cpt: "CPT", hcpcs: "HCPCS", "jp-procedure": "JP"};

export function systemName(system) {
    return SYSTEMS[system] ?? system;
}

/* A number whose decimal place stands below those of the numbers above it, also where it has none. */
export function aligned(text) {
    const [whole, fraction] = text.split(".");
    return [whole, el("span", {class: "fraction"}, fraction === undefined ? "" : `.${fraction}`)];
}

/* "18 of 100" */
export function frequency(share, name = "") {
    return el("span", {class: `frequency ${name}`}, el("span", {class: "unit"}, t("of_hundred_before")),
        el("b", {}, aligned(hundred(share))), el("span", {class: "unit after"}, t("of_hundred_after")));
}

export function intervalText([low, high]) {
    return t("from_to", {low: hundred(low), high: hundred(high)});
}

/* The end of an axis that all of these risks fit on. */
export function scaleOf(risks) {
    const most = Math.max(0.01, ...risks.flatMap(r => [r.probability, r.interval?.[1], r.average_age_sex])
        .filter(value => Number.isFinite(value)));
    return [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1].find(end => end >= most) ?? 1;
}

/* The meaning of a bar, for those who do not see it. */
export function barLabel(risk) {
    return [t("bar_risk", {n: ofHundred(risk.probability)}),
        risk.interval && t("bar_interval", {range: intervalText(risk.interval)}),
        Number.isFinite(risk.average_age_sex) && t("bar_average", {n: ofHundred(risk.average_age_sex)})].filter(Boolean).join("; ");
}

/* Bar = risk, whisker = interval, diamond on a line = average of age and sex. */
export function bar(risk, scale, width = 200) {
    const height = 24, middle = height / 2, x = share => 6 + (width - 12) * Math.min(1, share / scale);
    const average = risk.average_age_sex, marks = [];
    if (risk.interval) {
        const [low, high] = risk.interval.map(x);
        marks.push(svg("path", {class: "whisker", d: `M${low} ${middle}H${high}M${low} ${middle - 4}v8M${high} ${middle - 4}v8`}));
    }
    if (Number.isFinite(average))
        marks.push(averageMark(x(average), height));
    return drawing(width, height, barLabel(risk),
        svg("rect", {class: "track", x: 6, y: middle - 5, width: width - 12, height: 10, rx: 2}),
        svg("rect", {class: "filled", x: 6, y: middle - 5, width: Math.max(1.5, x(risk.probability) - 6), height: 10, rx: 2}), marks);
}

function averageMark(x, height) {
    const middle = height / 2;
    return svg("path", {class: "average", d: `M${x} 1V${height - 1}M${x} ${middle - 5}l4.5 5l-4.5 5l-4.5 -5z`});
}

/* What the parts of a bar are, and where its axis ends. */
export function legend(scale) {
    const sample = (...shapes) => svg("svg", {viewBox: "0 0 30 16", width: 30, height: 16, "aria-hidden": "true"}, shapes);
    return el("ul", {class: "legend"},
        el("li", {}, sample(svg("rect", {class: "filled", x: 1, y: 4, width: 28, height: 8, rx: 2})), t("legend_risk")),
        el("li", {}, sample(svg("path", {class: "whisker", d: "M3 8H27M3 4v8M27 4v8"})), t("legend_interval")),
        el("li", {}, sample(averageMark(15, 16)), t("legend_average")),
        el("li", {}, t("legend_scale", {n: hundred(scale)})));
}

export function excess(risk) {
    const value = risk.excess ?? (Number.isFinite(risk.average_age_sex) && Number.isFinite(risk.probability)
        ? risk.probability - risk.average_age_sex : null);
    return {value, text: points(value)};
}

/* "Woman, 68" */
export function whoText(sex, age) {
    return age === null || age === undefined ? nameOf("sex", sex) : t("sex_age", {sex: nameOf("sex", sex), age});
}

/* Whole years on a day; null where one of them is not known. */
export function ageOn(birth, day) {
    if (!birth || !day)
        return null;
    return Number(day.slice(0, 4)) - Number(birth.slice(0, 4)) - (day.slice(5) < birth.slice(5) ? 1 : 0);
}

/* A code as records write it, with a place for its title. */
export function codeElement(thing) {
    return [el("code", {}, thing.code || nameOf("kind", thing.kind)), " ", el("span", {class: "code-title", "data-code": codeKey(thing)})];
}
