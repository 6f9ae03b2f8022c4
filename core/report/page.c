/* The styles of all reports, and text, numbers and intervals in them. */
#include "report/page.h"

#include "report/svg.h"

#include <math.h>

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n<title>";
static const char style[] =
    "</title>\n<style>\n"
    "body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica "
    "Neue',Arial,sans-serif;"
    "color:#1f2937;background:#fff;max-width:1320px;margin:0 auto;padding:24px}\n"
    "h1{font-size:26px;margin:0 0 4px}h2{font-size:21px;margin:40px 0 8px;padding-top:12px;"
    "border-top:2px solid #0072b2}h3{font-size:16px;margin:22px 0 6px}\n"
    "p{max-width:80ch}.soft{color:#4b5563}.notice{border-left:4px solid #d55e00;padding:6px 12px;"
    "background:#fff7ed}\n"
    "table{border-collapse:collapse;margin:6px 0 14px;font-variant-numeric:tabular-nums}"
    "th,td{padding:4px 12px;border-bottom:1px solid #e5e7eb;text-align:right}"
    "th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #9ca3af}\n"
    ".hash{font-family:ui-monospace,monospace;font-size:12px;overflow-wrap:anywhere}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(480px,100%),1fr));"
    "gap:12px;margin:12px 0}.charts svg{box-sizing:border-box;width:100%;height:auto;border:1px "
    "solid #e5e7eb;"
    "border-radius:6px;max-width:660px}figure{margin:0;break-inside:avoid}tbody "
    "th{white-space:nowrap}figcaption{font-weight:600}"
    "caption{text-align:left;font-weight:600;padding:4px 0}li{max-width:90ch}"
    ".scroll{overflow-x:auto}.facts td{text-align:left}.facts td{white-space:normal}"
    ".small{grid-template-columns:repeat(auto-fill,minmax(min(400px,100%),1fr))}td,td "
    ".soft{white-space:nowrap}td.hash{white-space:normal}\n"
    "@page{size:A4;margin:14mm}@media print{body{font-size:10pt;padding:0;max-width:none}"
    "section{break-before:page}table,svg,h3{break-inside:avoid}h2,h3{break-after:avoid}"
    ".scroll{overflow:visible}table.long{break-inside:auto}tr{break-inside:avoid}.charts{grid-"
    "template-columns:1fr "
    "1fr;gap:6px}th,td{padding:2px 6px}"
    "table{font-size:9pt}}\n"
    "</style>\n</head>\n<body>\n";

void rz_page_add(rz_page *p, const char *html)
{
    if (p->failed == RZ_OK)
        p->failed = rz_buffer_add_text(p->out, html);
}

void rz_page_text(rz_page *p, const char *text)
{
    if (p->failed == RZ_OK)
        p->failed = rz_escape(p->out, text);
}

void rz_page_count(rz_page *p, size_t n)
{
    if (p->failed == RZ_OK)
        p->failed = rz_buffer_addf(p->out, "%zu", n);
}

void rz_page_number(rz_page *p, double value, int decimals)
{
    char text[RZ_NUMBER_TEXT];
    rz_page_add(p, rz_number_text(value, decimals, text));
}

void rz_page_interval(rz_page *p, const rz_interval *i, int decimals)
{
    rz_page_number(p, i->value, decimals);
    if (!isfinite(i->low) || !isfinite(i->high))
        return;
    rz_page_add(p, " <span class=\"soft\">(");
    rz_page_number(p, i->low, decimals);
    rz_page_add(p, " to ");
    rz_page_number(p, i->high, decimals);
    rz_page_add(p, ")</span>");
}

void rz_page_row(rz_page *p, const char *name, const char *value, const char *class)
{
    rz_page_add(p, "<tr><td>");
    rz_page_add(p, name);
    rz_page_add(p, "</td><td class=\"");
    rz_page_add(p, class);
    rz_page_add(p, "\">");
    rz_page_text(p, value);
    rz_page_add(p, "</td></tr>\n");
}

void rz_page_begin(rz_page *p, const char *title, rz_buffer *out)
{
    *p = (rz_page){.out = out, .failed = RZ_OK};
    rz_page_add(p, head);
    rz_page_text(p, title);
    rz_page_add(p, style);
}

rz_status rz_page_end(rz_page *p, rz_error *error)
{
    rz_page_add(p, "</body>\n</html>\n");
    return p->failed == RZ_OK
               ? RZ_OK
               : rz_fail(error, p->failed, "the report could not be written after %zu bytes",
                         p->out->length);
}
