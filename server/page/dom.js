/* Elements made by name. Data goes in as text nodes and attributes, never as markup, so that a code
 * whose title is a script stays a title. */

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value === undefined || value === null || value === false)
            continue;
        if (name.startsWith("on"))
            node.addEventListener(name.slice(2), value);
        else
            node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.flat(Infinity).filter(child => child !== undefined && child !== null && child !== false));
    return node;
}

/* An element; attributes that are undefined, null or false are left out, `onclick` and the like are
 * listeners, children are nodes, texts or arrays of them. */
export function el(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
}

/* A drawing whose meaning is also told as text. */
export function drawing(width, height, label, ...children) {
    return svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label}, ...children);
}

/* A table: headings are texts or {text, class}, cells are contents or {content, class, header}. The roles
 * say again what the elements are, because narrow screens lay rows out as blocks. */
export function table({caption, headings, rows, name, hidden_caption = false}) {
    const cell = value => {
        const plain = value === null || typeof value !== "object" || value instanceof Node || Array.isArray(value);
        const {content, header, label, ...rest} = plain ? {content: value} : value;
        return el(header ? "th" : "td", {role: header ? "rowheader" : "cell", scope: header ? "row" : undefined,
            "data-label": label, ...rest}, content ?? "–");
    };
    const heading = value => {
        const {text, ...rest} = typeof value === "object" ? value : {text: value};
        return el("th", {role: "columnheader", scope: "col", ...rest}, text);
    };
    return el("table", {role: "table", class: name},
        caption && el("caption", {class: hidden_caption ? "unseen" : undefined}, caption),
        el("thead", {role: "rowgroup"}, el("tr", {role: "row"}, headings.map(heading))),
        el("tbody", {role: "rowgroup"}, rows.map(({cells, ...rest}) => el("tr", {role: "row", ...rest}, cells.map(cell)))));
}

/* Term and value pairs; values that are undefined are left out. */
export function facts(pairs, name) {
    return el("dl", {class: name ?? "facts"}, pairs.filter(([, value]) => value !== undefined)
        .map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value ?? "–"))));
}

/* What may be wider than the page scrolls by itself, by keyboard too. */
export function scrolling(label, ...content) {
    return el("div", {class: "scroll", role: "region", "aria-label": label, tabindex: 0}, content);
}

const PAPER = 680; /* A4 without its margins */

/* Draws again whenever the element has another width, on paper too. */
export function followWidth(host, draw) {
    const ended = new AbortController();
    new ResizeObserver(() => {
        if (!host.isConnected)
            ended.abort();
        else if (host.clientWidth > 0)
            draw(host.clientWidth);
    }).observe(host);
    addEventListener("beforeprint", () => draw(PAPER), {signal: ended.signal});
    addEventListener("afterprint", () => draw(host.clientWidth), {signal: ended.signal});
}
