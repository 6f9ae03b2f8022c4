/* The files of the clinicians' page (server/page/), embedded by the build (page.py). */
#ifndef REZEPTD_PAGE_H
#define REZEPTD_PAGE_H

#include <stddef.h>

typedef struct page_file {
    const char *name, *content_type;
    const char *etag; /* of the content, quoted */
    const char *raw, *gzip;
    size_t raw_length, gzip_length;
} page_file;

extern const page_file page_files[];
extern const size_t page_files_count;

#endif
