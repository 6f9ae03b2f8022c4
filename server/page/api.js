/* The daemon's answers, and what is said when there is none. The token lives in this tab only. */

const KEY = "rezept-token";
const ROOT = new URL("..", import.meta.url); /* so that a proxy may serve all of it below a folder */
const TRIES = 4;

/* Tells of "gone" (no answer at all), "back" and "signed-out". */
export const daemon = new EventTarget();
let gone = false;

/* Why there is no answer: the daemon's own problem, or kind "gone". */
export class Problem extends Error {
    constructor(kind, detail, status = 0, more = {}) {
        super(detail);
        this.kind = kind;
        this.status = status;
        this.more = more;
    }
}

export function token() {
    return sessionStorage.getItem(KEY);
}

export function keepToken(value) {
    if (value)
        sessionStorage.setItem(KEY, value);
    else
        sessionStorage.removeItem(KEY);
}

function announce(isGone) {
    if (gone === isGone)
        return;
    gone = isGone;
    daemon.dispatchEvent(new Event(gone ? "gone" : "back"));
}

function address(path, query) {
    const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
    const text = new URLSearchParams(given).toString();
    return text ? `${path}?${text}` : path;
}

async function problemOf(response) {
    const body = await response.json().catch(() => ({}));
    const kind = String(body.type ?? "").split(":").pop() || "unexpected";
    return new Problem(kind, body.detail ?? response.statusText, response.status, body);
}

const pause = seconds => new Promise(resolve => { setTimeout(resolve, 1000 * seconds); });

async function ask(path, options) {
    let response;
    try {
        const known = token();
        response = await fetch(new URL(path.slice(1), ROOT), {...options, cache: "no-store", credentials: "omit",
            headers: {...options.headers, ...(known ? {Authorization: `Bearer ${known}`} : {})}});
    } catch (error) {
        if (error.name === "AbortError")
            throw error;
        announce(true);
        throw new Problem("gone", error.message);
    }
    announce(false);
    return response;
}

/* 429 and 503 say when to come again; a few times that is done here. */
async function answer(path, options) {
    for (let tried = 1; ; tried++) {
        const response = await ask(path, options);
        if (response.ok)
            return response;
        const problem = await problemOf(response);
        if (problem.status === 401)
            daemon.dispatchEvent(new Event("signed-out"));
        if (![429, 503].includes(problem.status) || tried === TRIES)
            throw problem;
        await pause(Math.min(5, Number(response.headers.get("Retry-After")) || 1));
        options.signal?.throwIfAborted();
    }
}

export async function get(path, query, signal) {
    return (await answer(address(path, query), {signal})).json();
}

export async function getText(path, signal) {
    return (await answer(path, {signal})).text();
}

export async function post(path, body) {
    return (await answer(path, {method: "POST", body: JSON.stringify(body),
        headers: {"Content-Type": "application/json"}})).json();
}

/* Resolves once the daemon answers again. */
export async function untilBack(signal) {
    while (!signal.aborted) {
        await pause(2);
        if (!signal.aborted && await ask("/livez", {signal}).then(() => true, () => false))
            return;
    }
}

/* The path of a patient. The daemon takes ids as they are, but a path cannot end in "." or "..": those the
 * browser would take for folders. */
export function patientPath(id, rest = "") {
    if (id === "." || id === "..")
        throw new Problem("unaskable", id);
    return `/v1/patients/${encodeURIComponent(id)}${rest}`;
}
