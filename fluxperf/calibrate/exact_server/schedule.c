/* The schedule: a heap of answers by when their next piece is due, and the events that they are made of.
 *
 * Token k of an answer is due TTFT + k * ITL after its request arrived, however late those before it were.
 */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Between two looks at the sockets. */
#define MOST_WRITES 64

#define EVENT_BEGIN "data: {\"id\":\"chatcmpl-exact\",\"object\":\"chat.completion.chunk\",\"created\":1700000000," \
                    "\"model\":\"" MODEL "\",\"choices\":"
#define EVENT_END "}\n\n"

static Stream **heap;
static size_t heap_used, heap_room;

static void put(Stream *stream, size_t place) {
    heap[place] = stream;
    stream->place = place;
}

/* Moves what stands at `place` to where its due time belongs. */
static void settle(size_t place) {
    Stream *stream = heap[place];
    while (place > 0 && stream->due_ns < heap[(place - 1) / 2]->due_ns) {
        put(heap[(place - 1) / 2], place);
        place = (place - 1) / 2;
    }
    for (size_t child; (child = 2 * place + 1) < heap_used; place = child) {
        if (child + 1 < heap_used && heap[child + 1]->due_ns < heap[child]->due_ns)
            child++;
        if (stream->due_ns <= heap[child]->due_ns)
            break;
        put(heap[child], place);
    }
    put(stream, place);
}

static void enter_schedule(Stream *stream) {
    if (heap_used == heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (!heap)
            fail("out of memory");
    }
    put(stream, heap_used++);
    settle(stream->place);
}

void leave_schedule(Stream *stream) {
    size_t place = stream->place;
    if (place == NOWHERE)
        return;
    stream->place = NOWHERE;
    heap_used--;
    if (place != heap_used) {
        put(heap[heap_used], place);
        settle(place);
    }
}

bool next_due(int64_t *due_ns) {
    if (heap_used)
        *due_ns = heap[0]->due_ns;
    return heap_used > 0;
}

/* The value of the body's "max_tokens" or "max_completion_tokens"; 0: there is none.
 * Within a JSON string a quote has a backslash before it, so that no prompt can look like the key. */
static int find_max_tokens(const char *body, size_t count) {
    static const char *const keys[] = {"\"max_tokens\"", "\"max_completion_tokens\""};
    const char *end = body + count;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *from = body, *found;
        while ((found = memmem(from, (size_t)(end - from), keys[i], strlen(keys[i])))) {
            from = found + strlen(keys[i]);
            while (from < end && (*from == ' ' || *from == ':'))
                from++;
            int value = 0;
            for (; from < end && *from >= '0' && *from <= '9' && value < 100000000; from++)
                value = value * 10 + (*from - '0');
            if (value > 0)
                return value;
        }
    }
    return 0;
}

/* The request is whole: its answer begins, as the last read of its connection found it. */
void begin_answer(Stream *stream, const char *body, size_t count) {
    Connection *connection = stream->connection;
    int most = find_max_tokens(body, count);
    stream->limited = most > 0 && most < options.tokens;
    stream->tokens = stream->limited ? most : options.tokens;
    stream->prompt_bytes = count;
    stream->begun = true;
    stream->arrived_ns = stream->due_ns = connection->read_ns; /* the role chunk is due at once */
    truth.requests++;
    truth.connections += !connection->counted;
    connection->counted = true;
    truth.shared_arrivals += connection->begun_in_read++ > 0;
    enter_schedule(stream);
}

/* All of the answer is with the kernel. The stream is gone afterwards. */
void finish_answer(Stream *stream) {
    truth.finished++;
    series_add(&truth.e2e, now_ns() - stream->arrived_ns);
    if (stream->connection->protocol == HTTP1)
        http1_end(stream);
    else
        drop_stream(stream);
}

static void write_piece(Stream *stream, Piece piece, const char *events, int count) {
    if (stream->connection->protocol == HTTP1)
        http1_write(stream, piece, events, (size_t)count);
    else
        http2_write(stream, piece, events, (size_t)count);
}

static void write_role(Stream *stream) {
    static const char events[] =
        EVENT_BEGIN "[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]" EVENT_END;
    write_piece(stream, ROLE, events, sizeof events - 1);
    stream->greeted = true;
    stream->due_ns = stream->arrived_ns + options.ttft_ns;
}

static void write_token(Stream *stream) {
    char events[512];
    int count = snprintf(events, sizeof events,
                         EVENT_BEGIN "[{\"index\":0,\"delta\":{\"content\":\"token%05d \"},\"finish_reason\":null}]" EVENT_END,
                         stream->written % 100000);
    int64_t written_ns = now_ns();
    write_piece(stream, TOKEN, events, count);
    if (stream->connection->broken)
        return;
    series_add(&truth.late, written_ns - stream->due_ns);
    if (stream->written == 0)
        series_add(&truth.ttft, written_ns - stream->arrived_ns);
    else
        series_add(&truth.itl, written_ns - stream->last_write_ns);
    truth.tokens++;
    stream->written++;
    stream->last_write_ns = written_ns;
    if (stream->written < stream->tokens) /* without a time between tokens: as fast as the socket takes them */
        stream->due_ns = options.itl_ns ? stream->due_ns + options.itl_ns : now_ns();
}

/* Finish reason, usage and [DONE], in one write. */
static void write_end(Stream *stream) {
    char events[1024];
    size_t prompt = stream->prompt_bytes / 4;
    int count = snprintf(events, sizeof events,
                         EVENT_BEGIN "[{\"index\":0,\"delta\":{},\"finish_reason\":\"%s\"}]" EVENT_END
                         EVENT_BEGIN "[],\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%d,\"total_tokens\":%zu}"
                         EVENT_END "data: [DONE]\n\n",
                         stream->limited ? "length" : "stop", prompt, stream->written, prompt + (size_t)stream->written);
    leave_schedule(stream);
    stream->ended = true;
    write_piece(stream, END, events, count);
    if (!stream->rest.used && !stream->connection->broken)
        finish_answer(stream);
}

static bool ready(const Stream *stream) {
    const Connection *connection = stream->connection;
    return !connection->out.used && (connection->protocol == HTTP1 || http2_ready(stream));
}

/* The client takes more: what had to wait goes on. */
void release_held(Connection *connection) {
    for (Stream *stream = connection->streams; stream; stream = stream->next) {
        if (stream->held && ready(stream)) {
            stream->held = false;
            enter_schedule(stream);
        }
    }
}

/* Writes what is due, the longest due first; the last token is followed by the end at once. */
void write_due(void) {
    for (int writes = 0; writes < MOST_WRITES && heap_used && heap[0]->due_ns <= now_ns(); writes++) {
        Stream *stream = heap[0];
        if (stream->connection->broken) {
            leave_schedule(stream);
        } else if (!ready(stream)) {
            leave_schedule(stream);
            stream->held = true;
            truth.held++;
        } else if (!stream->greeted) {
            write_role(stream);
            settle(stream->place);
        } else if (stream->written < stream->tokens) {
            write_token(stream);
            settle(stream->place);
        } else {
            write_end(stream);
        }
    }
}
