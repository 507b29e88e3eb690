/* The schedule against a clock that stands still while it works: what is written, when, one line each.
 *
 * Input: TTFT and ITL, then for each request its arrival, its max_tokens and when its client leaves (-1: never).
 * Output: `request piece time`, with pieces R, T and E.
 */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>

Options options = {.tokens = 1000000};
Truth truth;

static int64_t clock_ns;

int64_t now_ns(void) {
    return clock_ns;
}

void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

void series_add(Series *series, int64_t value_ns) {
    if (series == &truth.late && value_ns != 0)
        fail("a token was late");
}

void http1_write(Stream *stream, Piece piece, const char *events, size_t count) {
    (void)events, (void)count;
    printf("%u %c %lld\n", stream->id, "RTE"[piece], (long long)clock_ns);
}

void http1_end(Stream *stream) {
    (void)stream;
}

void drop_stream(Stream *stream) {
    (void)stream;
}

bool http2_ready(const Stream *stream) {
    (void)stream;
    return true;
}

void http2_write(Stream *stream, Piece piece, const char *events, size_t count) {
    http1_write(stream, piece, events, count);
}

typedef struct {
    long long arrives_ns, leaves_ns;
    int tokens;
    bool begun, left;
    Connection connection;
    Stream stream;
} Request;

static void begin(Request *request, uint32_t id) {
    char body[64];
    int count = snprintf(body, sizeof body, "{\"max_tokens\": %d}", request->tokens);
    request->connection = (Connection){.protocol = HTTP1, .read_ns = clock_ns};
    request->stream = (Stream){.connection = &request->connection, .id = id, .place = NOWHERE};
    request->begun = true;
    begin_answer(&request->stream, body, (size_t)count);
}

int main(void) {
    static Request requests[1000];
    long long ttft, itl;
    size_t used = 0;
    if (scanf("%lld %lld", &ttft, &itl) != 2)
        fail("no schedule");
    options.ttft_ns = ttft;
    options.itl_ns = itl;
    while (used < 1000 && scanf("%lld %d %lld", &requests[used].arrives_ns, &requests[used].tokens,
                                &requests[used].leaves_ns) == 3)
        used++;
    for (;;) {
        int64_t next_ns = INT64_MAX, due_ns;
        for (size_t i = 0; i < used; i++) {
            if (!requests[i].begun && requests[i].arrives_ns < next_ns)
                next_ns = requests[i].arrives_ns;
            if (requests[i].begun && !requests[i].left && requests[i].leaves_ns >= 0 && requests[i].leaves_ns < next_ns)
                next_ns = requests[i].leaves_ns;
        }
        if (next_due(&due_ns) && due_ns < next_ns)
            next_ns = due_ns;
        if (next_ns == INT64_MAX)
            return 0;
        clock_ns = next_ns;
        for (size_t i = 0; i < used; i++) {
            if (requests[i].begun && !requests[i].left && requests[i].leaves_ns == clock_ns) {
                requests[i].left = true;
                leave_schedule(&requests[i].stream);
            }
            if (!requests[i].begun && requests[i].arrives_ns == clock_ns)
                begin(&requests[i], (uint32_t)i);
        }
        while (next_due(&due_ns) && due_ns <= clock_ns)
            write_due();
    }
}
