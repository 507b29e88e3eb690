/* HTTP/1.1 (RFC 9112): requests with Content-Length in, chunked event streams out, one at a time on a connection. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_HEAD_BYTES 65536
#define TRUTH_BYTES 4096

typedef struct {
    const char *method, *target; /* not terminated */
    size_t method_bytes, target_bytes;
    size_t body_bytes;
    bool chunked, expects_continue, close, modern;
} Head;

static void answer(Connection *connection, const char *status, const char *json) {
    char text[TRUTH_BYTES + 256];
    int count = snprintf(text, sizeof text,
                         "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s", status,
                         strlen(json), connection->closing ? "Connection: close\r\n" : "", json);
    send_bytes(connection, text, (size_t)count);
}

static void refuse(Connection *connection, const char *status) {
    connection->closing = true;
    answer(connection, status, "{\"error\":{\"message\":\"this test server cannot read that request\"}}");
}

static bool is(const char *text, size_t count, const char *expected) {
    return count == strlen(expected) && strncasecmp(text, expected, count) == 0;
}

static void read_field(Head *head, const char *line, const char *end) {
    const char *colon = memchr(line, ':', (size_t)(end - line));
    if (!colon)
        return;
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    size_t count = (size_t)(end - value);
    if (is(line, name, "content-length"))
        head->body_bytes = strtoull(value, NULL, 10);
    else if (is(line, name, "transfer-encoding"))
        head->chunked = true;
    else if (is(line, name, "expect"))
        head->expects_continue = is(value, count, "100-continue");
    else if (is(line, name, "connection"))
        head->close = is(value, count, "close");
}

/* Reads the head in [text, end), whose last line ends with CRLF; false: it is none. */
static bool read_head(Head *head, const char *text, const char *end) {
    *head = (Head){.method = text};
    const char *line_end = memmem(text, (size_t)(end - text), "\r\n", 2);
    const char *space = memchr(text, ' ', (size_t)(line_end - text));
    const char *version = space ? memchr(space + 1, ' ', (size_t)(line_end - space - 1)) : NULL;
    if (!version)
        return false;
    head->method_bytes = (size_t)(space - text);
    head->target = space + 1;
    head->target_bytes = (size_t)(version - space - 1);
    head->modern = is(version + 1, (size_t)(line_end - version - 1), "HTTP/1.1");
    for (const char *line = line_end + 2; line < end; line = line_end + 2) {
        line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
        read_field(head, line, line_end);
    }
    return true;
}

static void handle(Connection *connection, const Head *head, const char *body) {
    bool post = is(head->method, head->method_bytes, "POST");
    static const char suffix[] = "/completions";
    size_t suffix_bytes = sizeof suffix - 1;
    if (post && head->target_bytes >= suffix_bytes &&
        memcmp(head->target + head->target_bytes - suffix_bytes, suffix, suffix_bytes) == 0) {
        begin_answer(open_stream(connection, 0), body, head->body_bytes);
    } else if (is(head->target, head->target_bytes, "/truth")) {
        char text[TRUTH_BYTES];
        truth_print(text, sizeof text);
        answer(connection, "200 OK", text);
    } else if (is(head->target, head->target_bytes, "/reset")) {
        truth_reset();
        answer(connection, "200 OK", "{\"reset\": true}\n");
    } else if (is(head->target, head->target_bytes, "/v1/models")) {
        answer(connection, "200 OK", "{\"object\":\"list\",\"data\":[{\"id\":\"" MODEL "\",\"object\":\"model\"}]}\n");
    } else {
        answer(connection, "404 Not Found", "{\"error\":{\"message\":\"there is no such path\"}}\n");
    }
}

/* Takes one request off the input, if it is whole; false: it is not, or it was refused. */
static bool take_request(Connection *connection) {
    Buffer *in = &connection->in;
    const char *blank = memmem(in->bytes, in->used, "\r\n\r\n", 4);
    if (!blank) {
        if (in->used > MAX_HEAD_BYTES)
            refuse(connection, "431 Request Header Fields Too Large");
        return false;
    }
    Head head;
    if (!read_head(&head, in->bytes, blank + 2) || !head.modern || head.chunked || head.body_bytes > MAX_BODY_BYTES) {
        refuse(connection, head.chunked ? "411 Length Required" : head.body_bytes ? "413 Content Too Large"
                                                                                   : "400 Bad Request");
        return false;
    }
    size_t head_bytes = (size_t)(blank + 4 - in->bytes);
    if (in->used < head_bytes + head.body_bytes) {
        if (head.expects_continue && !connection->told_to_continue) {
            static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
            send_bytes(connection, go_on, sizeof go_on - 1);
            connection->told_to_continue = true;
        }
        return false;
    }
    connection->closing = head.close;
    connection->told_to_continue = false;
    handle(connection, &head, in->bytes + head_bytes);
    buffer_drop(in, head_bytes + head.body_bytes);
    return true;
}

/* Takes the requests that have come; a further one waits until the answer before it has ended. */
void http1_receive(Connection *connection) {
    while (!connection->streams && !connection->closing && !connection->broken && connection->in.used &&
           take_request(connection)) {
    }
}

void http1_write(Stream *stream, Piece piece, const char *events, size_t count) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                               "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    char text[2048];
    int used = snprintf(text, sizeof text, "%s%zx\r\n%.*s\r\n%s", piece == ROLE ? head : "", count, (int)count, events,
                        piece == END ? "0\r\n\r\n" : "");
    send_bytes(stream->connection, text, (size_t)used);
}

/* The answer has ended: the next request may have come already. */
void http1_end(Stream *stream) {
    Connection *connection = stream->connection;
    drop_stream(stream);
    http1_receive(connection);
    close_if_done(connection);
}
