/* What the parts of the exact-schedule server share.
 *
 *   main.c        options, the loop around one epoll and one timerfd
 *   connection.c  connections and their streams; reading with the kernel's stamp, writing
 *   schedule.c    when each answer's next piece is due, and what it says
 *   http1.c       requests in and pieces out over HTTP/1.1
 *   http2.c       the same over HTTP/2 (prior knowledge)
 *   truth.c       what was really written, when
 *
 * One thread. Times are nanoseconds on CLOCK_MONOTONIC.
 */
#ifndef FLUXPERF_EXACT_SERVER_H
#define FLUXPERF_EXACT_SERVER_H

/* Before any other header: memmem, accept4 and the like. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_S 1000000000LL
#define MODEL "exact"
#define MAX_BODY_BYTES ((size_t)64 << 20)

/* A string of bytes that grows as it needs. */
typedef struct {
    char *bytes;
    size_t used, room;
} Buffer;

typedef struct Connection Connection;
typedef struct Stream Stream;

/* One request and its answer. HTTP/1.1 has one at a time on a connection, HTTP/2 many. */
struct Stream {
    Connection *connection;
    Stream *next;          /* on the same connection */
    uint32_t id;           /* HTTP/2's number of it; 0 in HTTP/1.1 */
    int64_t window;        /* HTTP/2: bytes that the client still takes */
    int64_t taken;         /* HTTP/2: bytes of the body that the client has not been given back */
    Buffer body;           /* HTTP/2: the request's body so far */
    Buffer rest;           /* HTTP/2: what is written of the answer, but has no window yet */
    int64_t arrived_ns;    /* when the kernel had the last byte of the request */
    int64_t due_ns;        /* when the next piece is to be written */
    int64_t last_write_ns; /* when the last token was */
    int tokens;            /* how many the answer has */
    int written;           /* how many of them are out */
    size_t prompt_bytes;   /* of the request's body */
    size_t place;          /* in the schedule, or NOWHERE */
    bool begun;            /* the request is whole, the answer under way */
    bool greeted;          /* the head and the role chunk are out */
    bool ended;            /* the last piece is written (but `rest` may hold some of it) */
    bool limited;          /* the request's max_tokens made the answer shorter */
    bool held;             /* off the schedule until the client takes more */
};

#define NOWHERE SIZE_MAX

typedef enum { UNDECIDED, HTTP1, HTTP2 } Protocol;

struct Connection {
    int fd;
    Protocol protocol;
    Buffer in, out;          /* read but not understood yet; written but not taken by the socket yet */
    int64_t read_ns;         /* when the kernel received the last byte that was read */
    int begun_in_read;       /* requests that became whole with the last read */
    Stream *streams;
    int stream_count;
    bool counted;            /* in the truth */
    bool closing;            /* close once all is written */
    bool broken;             /* close now, at the end of the turn */
    Connection *next_broken;
    bool told_to_continue;   /* HTTP/1.1: "100 Continue" was sent for the request that is coming in */
    int64_t window;          /* HTTP/2: bytes that the client still takes on the whole connection */
    int64_t initial_window;  /* HTTP/2: the same for a new stream */
    int64_t taken;           /* HTTP/2: bytes received that the client has not been given back */
    uint32_t last_id;        /* HTTP/2: the newest stream */
    uint32_t headers_of;     /* HTTP/2: the stream whose header block is not whole yet, or 0 */
    bool headers_end_stream; /* HTTP/2: and whether that request ends with it */
};

/* The pieces that an answer is written in, each with one write. */
typedef enum { ROLE, TOKEN, END } Piece;

typedef struct {
    int port;
    int64_t ttft_ns, itl_ns;
    int tokens;
    int max_streams; /* of one HTTP/2 connection */
} Options;

extern Options options;

/* main.c */
extern int epoll_fd;
int64_t now_ns(void);
int64_t wall_ns(void); /* CLOCK_REALTIME, which the kernel's stamps are of */
void fail(const char *what);

/* connection.c */
void buffer_append(Buffer *buffer, const void *bytes, size_t count);
void buffer_drop(Buffer *buffer, size_t count);
void buffer_free(Buffer *buffer);
void send_bytes(Connection *connection, const void *bytes, size_t count);
void open_connection(int fd);
void serve_connection(Connection *connection, uint32_t events);
void break_connection(Connection *connection);
void close_if_done(Connection *connection);
void close_broken(void);
Stream *open_stream(Connection *connection, uint32_t id);
void drop_stream(Stream *stream);

/* schedule.c */
void begin_answer(Stream *stream, const char *body, size_t count);
void leave_schedule(Stream *stream);
void release_held(Connection *connection);
bool next_due(int64_t *due_ns);
void write_due(void);
void finish_answer(Stream *stream);

/* http1.c */
void http1_receive(Connection *connection);
void http1_write(Stream *stream, Piece piece, const char *events, size_t count);
void http1_end(Stream *stream);

/* http2.c */
Protocol http2_recognise(const Connection *connection);
void http2_greet(Connection *connection);
void http2_receive(Connection *connection);
bool http2_ready(const Stream *stream);
void http2_write(Stream *stream, Piece piece, const char *events, size_t count);

/* truth.c */
typedef struct {
    int64_t *values_ns;
    size_t used, room, dropped;
} Series;

typedef struct {
    uint64_t requests;        /* that became whole */
    uint64_t finished;        /* answered to the end */
    uint64_t aborted;         /* left by their clients before that */
    uint64_t tokens;          /* written */
    uint64_t connections;     /* that sent a request for an answer */
    uint64_t user_stamps;     /* reads that the kernel did not stamp: the stamp is of after the read */
    uint64_t shared_arrivals; /* requests that came in one read with another, and so share a stamp */
    uint64_t held;            /* pieces that had to wait for the client to take more */
    Series ttft, itl, e2e;    /* first token - arrival; token - token before; end - arrival */
    Series late;              /* each token - when it was due */
} Truth;

extern Truth truth;
void series_add(Series *series, int64_t value_ns);
void truth_reset(void);
int truth_print(char *text, size_t room);

#endif
