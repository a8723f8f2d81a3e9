/* LD_PRELOAD: a resolver that does not answer for names that end in ".silent": getaddrinfo(3) never returns for them, and makes the
 * file $SILENT_RESOLVER_ASKED first. All other names are looked up. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                                                       struct addrinfo **found)
{
    size_t length = name ? strlen(name) : 0;
    if (length > 7 && strcmp(name + length - 7, ".silent") == 0) {
        const char *asked = getenv("SILENT_RESOLVER_ASKED");
        if (asked)
            close(open(asked, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        for (;;)
            pause();
    }
    return ((look_up *)dlsym(RTLD_NEXT, "getaddrinfo"))(name, service, hints, found);
}
