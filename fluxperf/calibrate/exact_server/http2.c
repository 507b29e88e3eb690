/* HTTP/2 (RFC 9113) by prior knowledge: what a server needs that answers every request alike.
 *
 * Header blocks are not decoded: a request with a body gets an answer, one without gets the list of models.
 */
#include "server.h"

#include <stdlib.h>
#include <string.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_BYTES (sizeof PREFACE - 1)
#define FRAME_HEAD_BYTES 9
#define MAX_FRAME_BYTES 16384        /* which is also the most we may send without asking */
#define MAX_WINDOW 0x7fffffff
#define FIRST_WINDOW 65535
#define OUR_WINDOW (8 << 20)         /* what a request's body may hold before we give room back */
#define GIVE_BACK_BYTES (OUR_WINDOW / 2)

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 0x1, ACK = 0x1, END_HEADERS = 0x4, PADDED = 0x8 };
enum { MAX_CONCURRENT_STREAMS = 3, INITIAL_WINDOW_SIZE = 4 };
enum { PROTOCOL_ERROR = 1, FLOW_CONTROL_ERROR = 3, FRAME_SIZE_ERROR = 6, REFUSED_STREAM = 7, ENHANCE_YOUR_CALM = 11 };

/* HPACK (RFC 7541), appendix A: ":status: 200" is entry 8, "content-type" entry 31, sent without indexing. */
static const unsigned char stream_headers[] = {0x88, 0x0f, 0x10, 17,  't', 'e', 'x', 't', '/', 'e', 'v',
                                               'e',  'n',  't',  '-', 's', 't', 'r', 'e', 'a', 'm'};
static const unsigned char json_headers[] = {0x88, 0x0f, 0x10, 16,  'a', 'p', 'p', 'l', 'i', 'c',
                                             'a',  't',  'i',  'o', 'n', '/', 'j', 's', 'o', 'n'};

typedef struct {
    uint32_t length, id;
    uint8_t type, flags;
    const unsigned char *payload;
} Frame;

static uint32_t read_32(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put_32(unsigned char *bytes, uint32_t value) {
    bytes[0] = (unsigned char)(value >> 24);
    bytes[1] = (unsigned char)(value >> 16);
    bytes[2] = (unsigned char)(value >> 8);
    bytes[3] = (unsigned char)value;
}

/* Writes a frame to `to`, which has room for it; returns its size. */
static size_t put_frame(unsigned char *to, int type, int flags, uint32_t id, const void *payload, size_t count) {
    put_32(to, (uint32_t)count << 8 | (uint32_t)type);
    to[4] = (unsigned char)flags;
    put_32(to + 5, id);
    if (count)
        memcpy(to + FRAME_HEAD_BYTES, payload, count);
    return FRAME_HEAD_BYTES + count;
}

/* Sends a short frame that is not subject to flow control. */
static void send_frame(Connection *connection, int type, int flags, uint32_t id, const void *payload, size_t count) {
    unsigned char frame[FRAME_HEAD_BYTES + 64];
    send_bytes(connection, frame, put_frame(frame, type, flags, id, payload, count));
}

static void send_32(Connection *connection, int type, uint32_t id, uint32_t value) {
    unsigned char payload[4];
    put_32(payload, value);
    send_frame(connection, type, 0, id, payload, sizeof payload);
}

/* The connection cannot go on. */
static void give_up(Connection *connection, uint32_t error) {
    unsigned char payload[8];
    put_32(payload, connection->last_id);
    put_32(payload + 4, error);
    send_frame(connection, GOAWAY, 0, 0, payload, sizeof payload);
    break_connection(connection);
}

static Stream *find_stream(const Connection *connection, uint32_t id) {
    Stream *stream = connection->streams;
    while (stream && stream->id != id)
        stream = stream->next;
    return stream;
}

/* ---- out ---- */

/* Whether the next piece may be written. The head of the answer needs no window. */
bool http2_ready(const Stream *stream) {
    return !stream->greeted || (!stream->rest.used && stream->window > 0 && stream->connection->window > 0);
}

/* Sends as much of `bytes` as the windows let through, after `lead` bytes that stand in `frames` already, in one
 * write; returns how much that was. The last frame ends the stream if `last` and all fits. */
static size_t send_data(Stream *stream, unsigned char *frames, size_t lead, const char *bytes, size_t count, bool last) {
    Connection *connection = stream->connection;
    int64_t window = stream->window < connection->window ? stream->window : connection->window;
    size_t sent = window <= 0 ? 0 : (int64_t)count < window ? count : (size_t)window;
    if (sent > MAX_FRAME_BYTES)
        sent = MAX_FRAME_BYTES;
    size_t used = lead;
    if (sent)
        used += put_frame(frames + used, DATA, last && sent == count ? END_STREAM : 0, stream->id, bytes, sent);
    stream->window -= (int64_t)sent;
    connection->window -= (int64_t)sent;
    if (used)
        send_bytes(connection, frames, used);
    return sent;
}

void http2_write(Stream *stream, Piece piece, const char *events, size_t count) {
    unsigned char frames[FRAME_HEAD_BYTES + sizeof stream_headers + FRAME_HEAD_BYTES + MAX_FRAME_BYTES];
    size_t lead = piece != ROLE ? 0
                                : put_frame(frames, HEADERS, END_HEADERS, stream->id, stream_headers,
                                            sizeof stream_headers);
    size_t sent = send_data(stream, frames, lead, events, count, piece == END);
    if (sent < count)
        buffer_append(&stream->rest, events + sent, count - sent);
}

/* A window has opened: what was waiting for it goes out, and then what is due. */
static void send_waiting(Connection *connection) {
    unsigned char frames[FRAME_HEAD_BYTES + MAX_FRAME_BYTES];
    for (Stream *stream = connection->streams, *next; stream && connection->window > 0; stream = next) {
        next = stream->next;
        while (stream->rest.used && stream->window > 0 && connection->window > 0) {
            size_t sent = send_data(stream, frames, 0, stream->rest.bytes, stream->rest.used, stream->ended);
            buffer_drop(&stream->rest, sent);
        }
        if (stream->ended && !stream->rest.used)
            finish_answer(stream);
    }
    release_held(connection);
}

static void send_models(Connection *connection, uint32_t id) {
    static const char models[] = "{\"object\":\"list\",\"data\":[{\"id\":\"" MODEL "\",\"object\":\"model\"}]}\n";
    unsigned char frames[256];
    size_t used = put_frame(frames, HEADERS, END_HEADERS, id, json_headers, sizeof json_headers);
    used += put_frame(frames + used, DATA, END_STREAM, id, models, sizeof models - 1);
    connection->window -= (int64_t)sizeof models - 1;
    send_bytes(connection, frames, used);
}

/* ---- in ---- */

/* The request of `stream` is whole. */
static void answer(Connection *connection, Stream *stream) {
    if (stream->begun)
        return;
    if (stream->body.used) {
        begin_answer(stream, stream->body.bytes, stream->body.used);
        buffer_free(&stream->body);
    } else {
        send_models(connection, stream->id);
        drop_stream(stream);
    }
}

static void reset_stream(Connection *connection, uint32_t id, uint32_t error) {
    Stream *stream = find_stream(connection, id);
    if (stream)
        drop_stream(stream);
    send_32(connection, RST_STREAM, id, error);
}

/* Takes the padding off the payload of a frame that has one; false: it is longer than the frame. */
static bool strip_padding(Frame *frame) {
    if (!(frame->flags & PADDED))
        return true;
    if (!frame->length || frame->payload[0] >= frame->length)
        return false;
    frame->length -= 1 + frame->payload[0];
    frame->payload++;
    return true;
}

static void take_data(Connection *connection, Frame *frame) {
    Stream *stream = find_stream(connection, frame->id);
    int64_t counted = frame->length; /* padding counts for flow control */
    if (frame->id > connection->last_id || !strip_padding(frame)) {
        give_up(connection, PROTOCOL_ERROR);
        return;
    }
    if ((connection->taken += counted) >= GIVE_BACK_BYTES) {
        send_32(connection, WINDOW_UPDATE, 0, (uint32_t)connection->taken);
        connection->taken = 0;
    }
    if (!stream || stream->begun)
        return;
    buffer_append(&stream->body, frame->payload, frame->length);
    if (stream->body.used > MAX_BODY_BYTES) {
        reset_stream(connection, stream->id, ENHANCE_YOUR_CALM);
    } else if (frame->flags & END_STREAM) {
        answer(connection, stream);
    } else if ((stream->taken += counted) >= GIVE_BACK_BYTES) {
        send_32(connection, WINDOW_UPDATE, stream->id, (uint32_t)stream->taken);
        stream->taken = 0;
    }
}

static void end_headers(Connection *connection) {
    Stream *stream = find_stream(connection, connection->headers_of);
    connection->headers_of = 0;
    if (stream && connection->headers_end_stream)
        answer(connection, stream);
}

static void take_headers(Connection *connection, const Frame *frame) {
    if (frame->id % 2 == 0 || (frame->id <= connection->last_id && !find_stream(connection, frame->id))) {
        give_up(connection, PROTOCOL_ERROR);
        return;
    }
    connection->headers_of = frame->id;
    connection->headers_end_stream = frame->flags & END_STREAM;
    if (frame->id > connection->last_id) { /* otherwise they are trailers */
        connection->last_id = frame->id;
        if (connection->stream_count >= options.max_streams)
            reset_stream(connection, frame->id, REFUSED_STREAM);
        else
            open_stream(connection, frame->id);
    }
    if (frame->flags & END_HEADERS)
        end_headers(connection);
}

static void take_settings(Connection *connection, const Frame *frame) {
    if (frame->flags & ACK)
        return;
    for (uint32_t at = 0; at + 6 <= frame->length; at += 6) {
        uint32_t name = (uint32_t)frame->payload[at] << 8 | frame->payload[at + 1];
        int64_t value = read_32(frame->payload + at + 2);
        if (name != INITIAL_WINDOW_SIZE)
            continue;
        if (value > MAX_WINDOW) {
            give_up(connection, FLOW_CONTROL_ERROR);
            return;
        }
        for (Stream *stream = connection->streams; stream; stream = stream->next)
            stream->window += value - connection->initial_window;
        connection->initial_window = value;
    }
    send_frame(connection, SETTINGS, ACK, 0, NULL, 0);
    send_waiting(connection);
}

static void take_window_update(Connection *connection, const Frame *frame) {
    int64_t more = read_32(frame->payload) & MAX_WINDOW;
    Stream *stream = find_stream(connection, frame->id);
    int64_t *window = frame->id ? (stream ? &stream->window : NULL) : &connection->window;
    if (!window)
        return; /* of a stream that has ended */
    *window += more;
    if (!more || *window > MAX_WINDOW)
        give_up(connection, more ? FLOW_CONTROL_ERROR : PROTOCOL_ERROR);
    else
        send_waiting(connection);
}

/* What a frame's length and place must be; 0: it is right. */
static uint32_t find_error(const Connection *connection, const Frame *frame) {
    static const uint32_t lengths[] = {[PRIORITY] = 5, [RST_STREAM] = 4, [PING] = 8, [WINDOW_UPDATE] = 4};
    bool continues = frame->type == CONTINUATION;
    if (connection->headers_of ? !continues || frame->id != connection->headers_of : continues)
        return PROTOCOL_ERROR;
    if (frame->type < sizeof lengths / sizeof *lengths && lengths[frame->type] &&
        lengths[frame->type] != frame->length)
        return FRAME_SIZE_ERROR;
    if (frame->type == SETTINGS && frame->length % 6)
        return FRAME_SIZE_ERROR;
    bool of_connection = frame->type == SETTINGS || frame->type == PING || frame->type == GOAWAY;
    bool of_stream = frame->type <= RST_STREAM || continues;
    if ((of_connection && frame->id) || (of_stream && !frame->id) || frame->type == PUSH_PROMISE)
        return PROTOCOL_ERROR;
    return 0;
}

static void take_frame(Connection *connection, Frame *frame) {
    uint32_t error = find_error(connection, frame);
    Stream *stream;
    if (error) {
        give_up(connection, error);
        return;
    }
    switch (frame->type) {
    case DATA:
        take_data(connection, frame);
        break;
    case HEADERS:
        take_headers(connection, frame);
        break;
    case CONTINUATION:
        if (frame->flags & END_HEADERS)
            end_headers(connection);
        break;
    case RST_STREAM:
        if ((stream = find_stream(connection, frame->id)))
            drop_stream(stream);
        break;
    case SETTINGS:
        take_settings(connection, frame);
        break;
    case PING:
        if (!(frame->flags & ACK))
            send_frame(connection, PING, ACK, 0, frame->payload, frame->length);
        break;
    case WINDOW_UPDATE:
        take_window_update(connection, frame);
        break;
    default: /* PRIORITY, GOAWAY (the answers under way go on), and what is not known */
        break;
    }
}

/* By HTTP/2's preface, with which a connection begins or not; UNDECIDED: there may be more of it to come. */
Protocol http2_recognise(const Connection *connection) {
    size_t known = connection->in.used < PREFACE_BYTES ? connection->in.used : PREFACE_BYTES;
    if (memcmp(connection->in.bytes, PREFACE, known) != 0)
        return HTTP1;
    return known < PREFACE_BYTES ? UNDECIDED : HTTP2;
}

/* After the preface: our settings, and all the room there is. */
void http2_greet(Connection *connection) {
    unsigned char settings[12] = {0, MAX_CONCURRENT_STREAMS, 0, 0, 0, 0, 0, INITIAL_WINDOW_SIZE};
    put_32(settings + 2, (uint32_t)options.max_streams);
    put_32(settings + 8, OUR_WINDOW);
    send_frame(connection, SETTINGS, 0, 0, settings, sizeof settings);
    send_32(connection, WINDOW_UPDATE, 0, MAX_WINDOW - FIRST_WINDOW);
    connection->window = connection->initial_window = FIRST_WINDOW;
    buffer_drop(&connection->in, PREFACE_BYTES);
}

/* Takes the frames that have come. */
void http2_receive(Connection *connection) {
    size_t at = 0;
    while (!connection->broken && connection->in.used - at >= FRAME_HEAD_BYTES) {
        const unsigned char *bytes = (const unsigned char *)connection->in.bytes + at;
        Frame frame = {.length = read_32(bytes) >> 8, .type = bytes[3], .flags = bytes[4],
                       .id = read_32(bytes + 5) & MAX_WINDOW, .payload = bytes + FRAME_HEAD_BYTES};
        if (frame.length > MAX_FRAME_BYTES)
            give_up(connection, FRAME_SIZE_ERROR);
        if (frame.length > MAX_FRAME_BYTES || connection->in.used - at < FRAME_HEAD_BYTES + frame.length)
            break;
        at += FRAME_HEAD_BYTES + frame.length;
        take_frame(connection, &frame);
    }
    buffer_drop(&connection->in, at);
}
