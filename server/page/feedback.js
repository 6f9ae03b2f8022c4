/* What the clinician says of a risk: agree or dismiss, with a reason from a list and no free text, which
 * would hold patient data. */
import {get, post} from "./api.js";
import {el} from "./dom.js";
import {hundred, instant, nameOf, ofHundred, t, titleOf} from "./text.js";

const REASONS = ["known_already", "under_treatment", "not_plausible", "data_wrong", "other"];

function newest(row) {
    return row ? t("newest_verdict", {verdict: nameOf("verdict", row.verdict), reason: row.reason ? ` (${nameOf("verdict", row.reason)})` : "",
        by: row.by, at: instant(row.recorded_at), n: hundred(row.probability)}) : t("no_verdict");
}

async function showNewest(line, who, risk, {session, signal, failure}) {
    if (!session.has("feedback:read")) {
        line.replaceChildren(t("no_scope_feedback_read"));
        return;
    }
    try {
        const {feedback} = await get("/v1/feedback", {patient: who.id, facility: who.facility, task: risk.task, limit: 1}, signal);
        line.replaceChildren(newest(feedback[0]));
    } catch (problem) {
        failure(line, problem, () => showNewest(line, who, risk, {session, signal, failure}));
    }
}

function form(who, risk, said, kept, context) {
    const reason = el("select", {id: "verdict-reason"}, el("option", {value: ""}, t("no_reason")),
        REASONS.map(name => el("option", {value: name}, nameOf("verdict", name))));
    const send = async verdict => {
        const body = {patient: {id: who.id, facility: who.facility}, task: risk.task, verdict, as_of: risk.as_of,
            probability: risk.probability, model_sha256: risk.model.sha256};
        if (verdict === "dismiss" && reason.value)
            body.reason = reason.value;
        try {
            await post("/v1/feedback", body);
            said.replaceChildren(t("verdict_kept"));
            kept();
        } catch (problem) {
            context.failure(said, problem, () => send(verdict));
        }
    };
    const button = verdict => el("button", {type: "button", onclick: async event => {
        event.target.disabled = true;
        await send(verdict);
        event.target.disabled = false;
    }}, t(verdict));
    return el("div", {class: "verdict"}, button("agree"), button("dismiss"), el("label", {for: "verdict-reason"}, t("because")), reason);
}

export function feedbackSection(who, risk, context) {
    const line = el("p", {}, t("loading")), said = el("p", {role: "status"});
    const refresh = () => showNewest(line, who, risk, context);
    refresh();
    return el("section", {"aria-labelledby": "feedback", class: "feedback"}, el("h2", {id: "feedback"}, t("feedback")),
        el("p", {}, t("feedback_ask", {task: titleOf(risk), n: ofHundred(risk.probability)})),
        context.session.has("feedback:write") ? form(who, risk, said, refresh, context) : el("p", {class: "notice"}, t("no_scope_feedback")),
        said, line);
}
