/* Connections and their streams: bytes in with the kernel's stamp, bytes out as far as the socket takes them. */
#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 16384

static Connection *broken_connections;

static char *make_room(Buffer *buffer, size_t count) {
    if (buffer->room - buffer->used < count) {
        while (buffer->room - buffer->used < count)
            buffer->room = buffer->room ? buffer->room * 2 : 4096;
        buffer->bytes = realloc(buffer->bytes, buffer->room);
        if (!buffer->bytes)
            fail("out of memory");
    }
    return buffer->bytes + buffer->used;
}

void buffer_append(Buffer *buffer, const void *bytes, size_t count) {
    if (count)
        memcpy(make_room(buffer, count), bytes, count);
    buffer->used += count;
}

void buffer_drop(Buffer *buffer, size_t count) {
    buffer->used -= count;
    if (buffer->used && count)
        memmove(buffer->bytes, buffer->bytes + count, buffer->used);
}

void buffer_free(Buffer *buffer) {
    free(buffer->bytes);
    *buffer = (Buffer){0};
}

/* ---- opening and closing ---- */

Stream *open_stream(Connection *connection, uint32_t id) {
    Stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        fail("out of memory");
    stream->connection = connection;
    stream->id = id;
    stream->place = NOWHERE;
    stream->window = connection->initial_window;
    stream->next = connection->streams;
    connection->streams = stream;
    connection->stream_count++;
    return stream;
}

void drop_stream(Stream *stream) {
    Stream **link = &stream->connection->streams;
    while (*link != stream)
        link = &(*link)->next;
    *link = stream->next;
    stream->connection->stream_count--;
    truth.aborted += stream->begun && !(stream->ended && !stream->rest.used);
    leave_schedule(stream);
    buffer_free(&stream->body);
    buffer_free(&stream->rest);
    free(stream);
}

/* A connection that was accepted. */
void open_connection(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    Connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        fail("out of memory");
    connection->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

void break_connection(Connection *connection) {
    if (connection->broken)
        return;
    connection->broken = true;
    connection->next_broken = broken_connections;
    broken_connections = connection;
}

void close_if_done(Connection *connection) {
    if (connection->closing && !connection->streams && !connection->out.used)
        break_connection(connection);
}

/* Only between two turns: an event of this turn may still lead to one of them. */
void close_broken(void) {
    while (broken_connections) {
        Connection *connection = broken_connections;
        broken_connections = connection->next_broken;
        while (connection->streams)
            drop_stream(connection->streams);
        close(connection->fd);
        buffer_free(&connection->in);
        buffer_free(&connection->out);
        free(connection);
    }
}

static void watch(Connection *connection, bool writable_too) {
    struct epoll_event event = {.events = EPOLLIN | (writable_too ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

/* Sends now, as far as the socket takes it; the rest follows once it takes more. */
void send_bytes(Connection *connection, const void *bytes, size_t count) {
    if (connection->broken)
        return;
    size_t sent = 0;
    if (!connection->out.used) {
        ssize_t result = send(connection->fd, bytes, count, MSG_NOSIGNAL);
        if (result < 0 && errno != EAGAIN) {
            break_connection(connection);
            return;
        }
        sent = result < 0 ? 0 : (size_t)result;
        if (sent < count)
            watch(connection, true);
    }
    buffer_append(&connection->out, (const char *)bytes + sent, count - sent);
}

static void send_remaining(Connection *connection) {
    ssize_t sent = send(connection->fd, connection->out.bytes, connection->out.used, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        break_connection(connection);
    if (sent <= 0)
        return;
    buffer_drop(&connection->out, (size_t)sent);
    if (!connection->out.used) {
        watch(connection, false);
        release_held(connection);
    }
}

/* ---- reading ---- */

/* When the kernel received what `message` brought; 0: it does not say, or the wall clock was set meanwhile. */
static int64_t find_stamp(struct msghdr *message) {
    for (struct cmsghdr *entry = CMSG_FIRSTHDR(message); entry; entry = CMSG_NXTHDR(message, entry)) {
        if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        struct timespec stamp;
        memcpy(&stamp, CMSG_DATA(entry), sizeof stamp);
        int64_t age_ns = wall_ns() - (stamp.tv_sec * NS_PER_S + stamp.tv_nsec);
        return age_ns >= 0 && age_ns < 10 * NS_PER_S ? now_ns() - age_ns : 0;
    }
    return 0;
}

/* One read into the connection's input, with its stamp; false: nothing came. */
static bool read_once(Connection *connection) {
    struct iovec place = {make_room(&connection->in, READ_BYTES), READ_BYTES};
    union {
        struct cmsghdr aligned;
        char bytes[64];
    } control;
    struct msghdr message = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t count = recvmsg(connection->fd, &message, 0);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN)
            break_connection(connection);
        return false;
    }
    connection->in.used += (size_t)count;
    connection->begun_in_read = 0;
    int64_t stamp_ns = find_stamp(&message);
    truth.user_stamps += !stamp_ns;
    connection->read_ns = stamp_ns ? stamp_ns : now_ns();
    return true;
}

static void take_input(Connection *connection) {
    if (connection->protocol == UNDECIDED) {
        connection->protocol = http2_recognise(connection);
        if (connection->protocol == HTTP2)
            http2_greet(connection);
    }
    if (connection->protocol == HTTP1)
        http1_receive(connection);
    else if (connection->protocol == HTTP2)
        http2_receive(connection);
}

/* What epoll tells of the connection. */
void serve_connection(Connection *connection, uint32_t events) {
    if (connection->broken)
        return;
    if (events & EPOLLOUT)
        send_remaining(connection);
    if (events & ~(uint32_t)EPOLLOUT && read_once(connection))
        take_input(connection);
    close_if_done(connection);
}
