/* The handlers of the route table, each in the file that its name begins with. */
#ifndef REZEPTD_HANDLERS_H
#define REZEPTD_HANDLERS_H

#include "request.h"

void claims_post(request *r);
void claims_delete(request *r);

void patients_list(request *r);
void patients_get(request *r);
void patients_delete(request *r);
void patients_timeline(request *r);
void trend_get(request *r);

void risks_get(request *r);
void worklist_get(request *r);
void predict_post(request *r);
void predict_batch(request *r);

void codes_get(request *r);
void tasks_list(request *r);
void models_list(request *r);
void models_get(request *r);
void models_load(request *r);
void models_unload(request *r);
void models_card(request *r);
void models_study(request *r);

void feedback_post(request *r);
void feedback_list(request *r);

void whoami_get(request *r);

void server_get(request *r);
void livez_get(request *r);
void readyz_get(request *r);
void healthz_get(request *r);
void metrics_get(request *r);
void openapi_get(request *r);

void page_index_get(request *r);
void page_file_get(request *r);

#endif
