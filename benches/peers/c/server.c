/* libuv as a TCP server: echo, or one fixed answer to each HTTP request. Prints its port.
 *
 * With "try" it offers the bytes to the kernel first and queues only what is left; else it queues all, as most do.
 */
#include "driver.h"
#include <netinet/in.h>

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

static char buffer[65536];
static int is_http, tries;

struct sending {
  uv_write_t request;
  char bytes[];
};

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *lent) {
  (void)handle, (void)suggested;
  *lent = uv_buf_init(buffer, sizeof buffer);
}

static void free_handle(uv_handle_t *handle) { free(handle); }
static void free_sending(uv_write_t *request, int status) {
  (void)status;
  free(request);
}

static void send_bytes(uv_stream_t *stream, const char *bytes, size_t count) {
  int sent = 0;
  if (tries) {
    uv_buf_t now = uv_buf_init((char *)bytes, count);
    sent = uv_try_write(stream, &now, 1);
    if (sent == (int)count) return;
    if (sent < 0) sent = 0;
  }
  struct sending *sending = room_for(1, sizeof *sending + count);
  memcpy(sending->bytes, bytes + sent, count - sent);
  uv_buf_t later = uv_buf_init(sending->bytes, count - sent);
  uv_write(&sending->request, stream, &later, 1, free_sending);
}

/* Requests of the benchmark's client arrive whole, and end with an empty line. */
static void answer(uv_stream_t *stream, const char *bytes, size_t count) {
  for (size_t at = 3; at < count; at++) {
    if (memcmp(bytes + at - 3, "\r\n\r\n", 4) == 0) send_bytes(stream, ANSWER, sizeof ANSWER - 1);
  }
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *read) {
  if (count < 0) uv_close((uv_handle_t *)stream, free_handle);
  else if (is_http) answer(stream, read->base, count);
  else send_bytes(stream, read->base, count);
}

static void on_connection(uv_stream_t *listener, int status) {
  must(status, "listen");
  uv_tcp_t *client = room_for(1, sizeof *client);
  uv_tcp_init(listener->loop, client);
  must(uv_accept(listener, (uv_stream_t *)client), "accept");
  uv_tcp_nodelay(client, 1);
  uv_read_start((uv_stream_t *)client, lend_buffer, on_read);
}

int main(int argc, char **argv) {
  uv_loop_t *loop = uv_default_loop();
  uv_tcp_t listener;
  struct sockaddr_in address;
  int length = sizeof address;
  is_http = argc > 1 && !strcmp(argv[1], "http");
  tries = argc > 2 && !strcmp(argv[2], "try");
  must(uv_ip4_addr("127.0.0.1", 0, &address), "uv_ip4_addr");
  must(uv_tcp_init(loop, &listener), "uv_tcp_init");
  must(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0), "bind");
  must(uv_listen((uv_stream_t *)&listener, 4096, on_connection), "listen");
  must(uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length), "getsockname");
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
