/* Who may do what. Without any token on disk everybody on this machine may do everything; from the
 * first token on every request outside the health checks needs one. */
#ifndef REZEPTD_AUTH_H
#define REZEPTD_AUTH_H

#include "request.h"
#include "server.h"

typedef struct auth auth;

/* Errors  RZ_E_USAGE when the address is not loopback and there is no token or no proxy in front:
 *         names the settings and the remedy. */
RZ_MUST_CHECK rz_status auth_new(const config *c, auth **out, rz_error *error);
void auth_free(auth *a); /* accepts NULL */

/* True when requests need a token. Looks for changes of the token file. */
bool auth_required(auth *a);

/* True when the matched request may go on, with r->caller set; else the answer is 401 or 403.
 * required  what auth_required said for this request */
bool auth_check(auth *a, request *r, bool required);

#endif
