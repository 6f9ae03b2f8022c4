/* The page as a whole: who is there, which view the address names, and what is said when the daemon goes.
 * The address after '#' never leaves the browser, which is why patient ids stand there. */
import {Problem, daemon, get, keepToken, token, untilBack} from "./api.js";
import * as card from "./card.js";
import {el} from "./dom.js";
import * as models from "./models.js";
import * as patient from "./patient.js";
import {chooseLanguage, instant, language, nameOf, t} from "./text.js";
import * as worklist from "./worklist.js";

const views = {worklist, patient, models, card};
const main = document.getElementById("main"), notice = document.getElementById("notice");
let session = null, shown = null, aborter = new AbortController(), answeredAt = new Date();

/* ---- the frame ---- */

function languageButtons() {
    return el("div", {class: "languages", role: "group", "aria-label": t("language")}, [["en", "English"], ["ja", "日本語"]].map(([name, text]) =>
        el("button", {type: "button", lang: name, "aria-pressed": String(language === name), onclick: () => {
            chooseLanguage(name);
            shown = null;
            start();
        }}, text)));
}

function findForm() {
    return el("form", {class: "find", role: "search", onsubmit: event => {
        event.preventDefault();
        const id = event.target.elements.id.value;
        if (id !== "")
            location.hash = `#/patient?${new URLSearchParams({id})}`;
    }}, el("label", {class: "unseen", for: "find"}, t("find_patient")),
    el("input", {id: "find", name: "id", type: "search", placeholder: t("find_patient"), autocomplete: "off", spellcheck: "false"}));
}

function drawFrame(current) {
    const link = (name, text) => el("li", {}, el("a", {href: `#/${name}`, "aria-current": current === name ? "page" : undefined}, text));
    document.getElementById("skip").textContent = t("skip");
    document.getElementById("intended").textContent = t("intended");
    document.getElementById("footer").replaceChildren(el("p", {}, t("intended")), el("p", {class: "soft printed"}, t("printed", {at: instant(new Date())})));
    document.getElementById("header").replaceChildren(el("a", {class: "brand", href: "#/worklist"}, el("img", {src: "page/icon.svg", alt: "", width: 24, height: 24}), "Rezept"),
        session ? el("nav", {"aria-label": t("views")}, el("ul", {}, link("worklist", t("worklist")), link("models", t("models")))) : "",
        session?.has("risks:read") ? findForm() : "", el("div", {class: "right"}, session && session.name !== "anonymous" ? [el("span", {class: "soft"}, session.name),
            el("button", {type: "button", onclick: signOut}, t("sign_out"))] : "", languageButtons()));
}

/* ---- signing in ---- */

function signOut() {
    keepToken(null);
    session = null;
    start();
}

function signIn(message) {
    aborter.abort();
    drawFrame();
    document.title = `${t("sign_in")} – Rezept`;
    const field = el("input", {id: "token", type: "password", autocomplete: "off", required: true, spellcheck: "false"});
    main.replaceChildren(el("form", {class: "sign-in", onsubmit: event => {
        event.preventDefault();
        keepToken(field.value.trim());
        start(true);
    }}, el("h1", {}, t("sign_in")), message && el("p", {class: "notice", role: "alert"}, message), el("label", {for: "token"}, t("token")), field,
    el("button", {type: "submit", class: "primary"}, t("sign_in")), el("p", {class: "soft"}, t("token_help")), el("pre", {}, "rezeptd token create --name ward-3 --scopes patients:read,risks:read,feedback:write,feedback:read")));
    field.focus();
}

/* ---- views ---- */

function address() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    return {name: path === "" ? "worklist" : path, query: new URLSearchParams(query)};
}

function reasonOf(problem) {
    if (!(problem instanceof Problem))
        return t("unexpected", {detail: String(problem)});
    const known = nameOf("problem", problem.kind);
    return known === problem.kind ? t("refused", {status: problem.status, detail: problem.message}) : t(`problem_${problem.kind}`, {detail: problem.message});
}

/* Why a part of the page is not there, in its place, and a way to try again. */
function failure(host, problem, again) {
    if (problem.name === "AbortError" || problem.status === 401)
        return; /* another view is there already */
    if (!(problem instanceof Problem))
        console.error(problem);
    host.removeAttribute("aria-busy");
    host.replaceChildren(el("div", {class: "failure", role: "alert"}, el("p", {}, reasonOf(problem)),
        again && el("button", {type: "button", onclick: again}, t("again"))));
}

async function route(focus = true) {
    const {name, query} = address(), view = views[name];
    aborter.abort();
    aborter = new AbortController();
    const {signal} = aborter;
    drawFrame(name);
    document.title = `${view ? view.title() : t("no_view")} – Rezept`;
    if (!view || !session.has(view.scope)) {
        main.replaceChildren(el("h1", {}, view ? view.title() : t("no_view")), el("p", {class: "notice"}, view ? t("no_scope", {scope: view.scope}) : t("no_view_detail")));
        return;
    }
    if (shown !== name)
        main.replaceChildren(el("p", {class: "soft loading"}, t("loading")));
    main.setAttribute("aria-busy", "true");
    try {
        await view.show(main, query, {session, signal, failure});
        shown = name;
        if (focus) {
            main.focus({preventScroll: true});
            scrollTo(0, 0);
        }
    } catch (problem) {
        shown = null;
        failure(main, problem, () => route());
    }
    if (!signal.aborted)
        main.removeAttribute("aria-busy");
}

/* ---- start, and the daemon coming and going ---- */

async function start(tried = false) {
    session = null;
    chooseLanguage(language);
    try {
        const who = await get("/v1/whoami");
        session = {name: who.name, has: scope => who.scopes.includes(scope)};
    } catch (problem) {
        if (problem.status === 401) {
            keepToken(null);
            signIn(tried ? t("token_refused", {detail: problem.message}) : undefined);
        } else {
            drawFrame();
            failure(main, problem, () => start());
        }
        return;
    }
    await route(false);
}

daemon.addEventListener("gone", async () => {
    const since = answeredAt;
    notice.replaceChildren(el("p", {class: "gone"}, t("gone", {at: instant(since)})));
    await untilBack(new AbortController().signal);
    notice.replaceChildren();
    start();
});
daemon.addEventListener("signed-out", () => {
    if (!session)
        return; /* start() asks and tells by itself */
    const had = token() !== null;
    session = null;
    keepToken(null);
    signIn(had ? t("signed_out") : undefined);
});
addEventListener("hashchange", () => {
    if (session)
        route();
});
setInterval(async () => {
    /* A daemon that is gone is noticed while nothing is asked, too. */
    if (document.visibilityState === "visible" && session && notice.childElementCount === 0 && await get("/livez").then(() => true, () => false))
        answeredAt = new Date();
}, 10000);
start();
