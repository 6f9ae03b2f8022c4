/* The model card under construction. Private to card.c and card_results.c. */
#ifndef RZ_MODELS_CARD_PAGE_H
#define RZ_MODELS_CARD_PAGE_H

#include "base/buffer.h"
#include "train_options.h"

/* The first failure is kept; all the others then do nothing. */
typedef struct card_page {
    rz_buffer text;
    rz_status status;
} card_page;

#define say(page, ...)                                                                             \
    do {                                                                                           \
        if ((page)->status == RZ_OK)                                                               \
            (page)->status = rz_buffer_addf(&(page)->text, __VA_ARGS__);                           \
    } while (0)

/* "## Results" with everything below it. */
void card_results(card_page *page, const card *card);

#endif
