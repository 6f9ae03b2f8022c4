/* What the page says, in the language that is chosen, and numbers and dates as it writes them. */
import en from "./text_en.js";
import ja from "./text_ja.js";

const KEY = "rezept-language";
const tables = {en, ja};

function preferred() {
    const kept = localStorage.getItem(KEY);
    if (kept in tables)
        return kept;
    return (navigator.languages ?? [navigator.language]).map(name => name.slice(0, 2)).find(name => name in tables) ?? "en";
}

export let language = preferred();

export function chooseLanguage(name) {
    language = name;
    localStorage.setItem(KEY, name);
    document.documentElement.lang = name;
}

/* The text of a key with {names} filled in. A key that is missing is our mistake and shows as itself. */
export function t(key, values = {}) {
    return (tables[language][key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/* The text of a name that the daemon gave, or that name. */
export function nameOf(prefix, name) {
    return tables[language][`${prefix}_${name}`] ?? name;
}

export function count(n) {
    return new Intl.NumberFormat(language).format(n);
}

/* A share in hundredths: whole numbers from 10 on, one decimal below. */
export function hundred(share) {
    const value = 100 * share;
    if (value > 0 && value < 0.05)
        return "<0.1";
    return Math.abs(value) < 9.95 ? value.toFixed(1) : value.toFixed(0);
}

export function ofHundred(share) {
    return t("of_hundred", {n: hundred(share)});
}

/* With a sign, as a difference of such shares; a true minus sign, as wide as the plus. */
export function points(difference) {
    return difference === null || difference === undefined ? "–"
        : `${difference < 0 ? "−" : "+"}${hundred(Math.abs(difference))}`;
}

export function decimals(value, digits = 2) {
    return value === null || value === undefined ? "–" : value.toFixed(digits);
}

/* "2026-11-26 18:05" of an instant, in the time of the one who reads. */
export function instant(text) {
    if (!text)
        return "–";
    const at = new Date(text), two = n => String(n).padStart(2, "0");
    return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/* The title of a task, risk or calibration in the language of the page. */
export function titleOf(thing, otherwise) {
    return (language === "ja" ? thing?.title_ja : thing?.title) ?? thing?.title ?? otherwise ?? thing?.task ?? thing?.name;
}

/* Whole days since 1970-01-01, and back. */
export function dayNumber(text) {
    return Math.round(Date.parse(`${text}T00:00:00Z`) / 86400000);
}

export function dayText(number) {
    return new Date(number * 86400000).toISOString().slice(0, 10);
}

/* "14 months" or "40 days". */
export function span(days) {
    return days < 62 ? t("days", {n: count(days)}) : t("months", {n: count(Math.round(days / 30.4375))});
}
