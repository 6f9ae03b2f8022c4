/* A page under construction: one self-contained HTML file for reading on a screen and for printing
 * on A4, without scripts, fonts or images from anywhere else. Nothing here fails one by one: the
 * first failure is kept in `failed`, and nothing more is written. */
#ifndef RZ_REPORT_PAGE_H
#define RZ_REPORT_PAGE_H

#include "base/buffer.h"
#include "metrics/metrics.h"

typedef struct rz_page {
    rz_buffer *out; /* borrowed */
    rz_status failed;
} rz_page;

/* The head with the styles of all reports, and <body>. */
void rz_page_begin(rz_page *page, const char *title, rz_buffer *out);
/* Closes it. Errors  RZ_E_TOO_LARGE, RZ_E_NO_MEMORY, or what `failed` was set to. */
RZ_MUST_CHECK rz_status rz_page_end(rz_page *page, rz_error *error);

void rz_page_add(rz_page *page, const char *html);  /* as it is */
void rz_page_text(rz_page *page, const char *text); /* escaped */
void rz_page_count(rz_page *page, size_t n);
/* With a point whatever the locale; "-" for what is not finite. */
void rz_page_number(rz_page *page, double value, int decimals);
/* "0.412 (0.380 to 0.441)", the range only where there is one. */
void rz_page_interval(rz_page *page, const rz_interval *interval, int decimals);
/* A row of two columns; `class` of the second. */
void rz_page_row(rz_page *page, const char *name, const char *value, const char *class);

#endif
