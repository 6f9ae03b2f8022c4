/* The card of a model, which is Markdown of few shapes: headings, paragraphs, lists, tables, `code` and
 * **strong**. What is none of these stays text. */
import {getText} from "./api.js";
import {el, scrolling} from "./dom.js";
import {t} from "./text.js";

export const scope = "risks:read";

export function title() {
    return t("card");
}

function inline(text) {
    return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).filter(part => part !== "").map(part =>
        part.startsWith("`") && part.length > 2 ? el("code", {}, part.slice(1, -1))
            : part.startsWith("**") && part.length > 4 ? el("strong", {}, part.slice(2, -2)) : part);
}

function cells(line) {
    return line.trim().replace(/^\||\|$/g, "").split("|").map(cell => cell.trim());
}

function tableOf(lines) {
    const [head, , ...body] = lines.map(cells);
    return scrolling(head.join(", "), el("table", {class: "left"}, el("thead", {}, el("tr", {}, head.map(cell => cell === "" ? el("td") : el("th", {scope: "col"}, inline(cell))))),
        el("tbody", {}, body.map(row => el("tr", {}, row.map((cell, i) => i === 0 ? el("th", {scope: "row"}, inline(cell)) : el("td", {}, inline(cell))))))));
}

export function blocks(markdown) {
    return markdown.split(/\n{2,}/).map(block => block.trim()).filter(Boolean).flatMap(block => {
        const lines = block.split("\n"), heading = /^(#{1,4}) (.*)$/.exec(lines[0]);
        if (heading)
            return [el(`h${heading[1].length}`, {}, inline(heading[2])), ...(lines.length > 1 ? blocks(lines.slice(1).join("\n")) : [])];
        if (lines.length > 1 && lines[0].startsWith("|") && /^\|[-| :]+$/.test(lines[1]))
            return [tableOf(lines)];
        if (lines.every(line => /^[-*] /.test(line)))
            return [el("ul", {}, lines.map(line => el("li", {}, inline(line.slice(2)))))];
        return [el("p", {}, inline(lines.join(" ")))];
    });
}

export async function show(main, query, {signal}) {
    const id = query.get("id") ?? "", text = await getText(`/v1/models/${encodeURIComponent(id)}/card`, signal);
    main.replaceChildren(el("p", {}, el("a", {href: `#/models?${new URLSearchParams({id})}`}, `← ${t("models")}: ${id}`)),
        el("article", {class: "card", lang: "en"}, blocks(text)));
}
