/* Tables of the report's page, cell by cell. Private to the report. */
#ifndef RZ_MODELS_STUDY_TABLE_H
#define RZ_MODELS_STUDY_TABLE_H

#include "report/page.h"

#include <math.h>

static inline void begin_table(rz_page *p, const char *caption, const char *const *headings,
                               size_t n)
{
    rz_page_add(p, "<div class=\"scroll\"><table class=\"long\">");
    if (caption != NULL) {
        rz_page_add(p, "<caption>");
        rz_page_text(p, caption);
        rz_page_add(p, "</caption>");
    }
    rz_page_add(p, "<thead><tr>");
    for (size_t i = 0; i < n; i++) {
        rz_page_add(p, "<th>");
        rz_page_text(p, headings[i]);
        rz_page_add(p, "</th>");
    }
    rz_page_add(p, "</tr></thead><tbody>\n");
}

static inline void end_table(rz_page *p)
{
    rz_page_add(p, "</tbody></table></div>\n");
}

static inline void next_cell(rz_page *p)
{
    rz_page_add(p, "</td><td>");
}

static inline void begin_row(rz_page *p, const char *text)
{
    rz_page_add(p, "<tr><td>");
    rz_page_text(p, text);
}

static inline void end_row(rz_page *p)
{
    rz_page_add(p, "</td></tr>\n");
}

static inline void cell_interval(rz_page *p, const rz_interval *i, int decimals)
{
    next_cell(p);
    rz_page_interval(p, i, decimals);
}

static inline void cell_text(rz_page *p, const char *text)
{
    next_cell(p);
    rz_page_text(p, text);
}

static inline void cell_number(rz_page *p, double value, int decimals)
{
    next_cell(p);
    rz_page_number(p, value, decimals);
}

static inline void cell_count(rz_page *p, size_t n)
{
    next_cell(p);
    rz_page_count(p, n);
}

/* "-3.1 %" of a share. */
static inline void cell_percent(rz_page *p, double share)
{
    next_cell(p);
    rz_page_number(p, 100.0 * share, 0);
    rz_page_add(p, isfinite(share) ? " %" : "");
}

#endif
