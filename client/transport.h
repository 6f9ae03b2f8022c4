/* What the pushing half of the library needs to know of a client. Not installed. */
#ifndef REZEPT_CLIENT_TRANSPORT_H
#define REZEPT_CLIENT_TRANSPORT_H

#include "rezept_client.h"

const char *client_url(const rz_client *client); /* borrowed */
bool client_goes_on(const rz_client *client);    /* false once the caller asked to stop */

#endif
