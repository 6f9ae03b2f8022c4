/* What codes are called, where the daemon has a table of titles. Titles are an extra: where there is none, or
 * no answer, a code stays a code. */
import {get} from "./api.js";
import {titleOf} from "./text.js";

const AT_ONCE = 100, ASKABLE = /^[\w.-]+$/;
const known = new Map();

/* The name under which a place for a title waits; undefined where nobody can be asked. */
export function codeKey(thing) {
    return ASKABLE.test(thing.code) ? `${thing.system}:${thing.code}` : undefined;
}

/* Fills in the places below `root`. */
export async function nameCodes(root, signal) {
    const places = [...root.querySelectorAll("[data-code]")];
    const wanted = [...new Set(places.map(place => place.dataset.code))].filter(key => !known.has(key));
    for (let i = 0; i < wanted.length; i += AT_ONCE) {
        const part = wanted.slice(i, i + AT_ONCE);
        const {codes} = await get("/v1/codes", {code: part.join(",")}, signal).catch(() => ({codes: []}));
        codes.forEach((code, k) => known.set(part[k], code));
    }
    for (const place of places)
        place.replaceChildren(titleOf(known.get(place.dataset.code), ""));
}
