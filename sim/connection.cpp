#include "sim/connection.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace cdisim {

namespace {

constexpr std::size_t kMostFds = 4;

// As many bytes as there are; false at the end.
bool read_all(int fd, char* to, std::size_t size) {
  while (size > 0) {
    const ssize_t n = recv(fd, to, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

Connection::Connection(Connection&& other) noexcept : fd_(other.fd_) {
  other.fd_ = -1;
}

Connection::~Connection() {
  if (fd_ >= 0) close(fd_);
}

bool Connection::send(std::string_view message) const {
  std::array<unsigned char, 4> head{};
  for (std::size_t i = 0; i < head.size(); ++i)
    head[i] = static_cast<unsigned char>(message.size() >> (8 * i) & 0xff);
  std::size_t sent = 0;
  while (sent < head.size() + message.size()) {
    const std::size_t of_head = sent < head.size() ? sent : head.size(), of_text = sent - of_head;
    std::array<iovec, 2> parts{iovec{head.data() + of_head, head.size() - of_head},
                               iovec{const_cast<char*>(message.data()) + of_text, message.size() - of_text}};
    msghdr whole{};
    whole.msg_iov = parts.data();
    whole.msg_iovlen = parts.size();
    const ssize_t n = sendmsg(fd_, &whole, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sent += static_cast<std::size_t>(n);
  }
  return true;
}

std::optional<std::string> Connection::receive() const {
  std::array<unsigned char, 4> head{};
  if (!read_all(fd_, reinterpret_cast<char*>(head.data()), head.size())) return std::nullopt;
  std::size_t size = 0;
  for (std::size_t i = 0; i < head.size(); ++i) size |= std::size_t{head[i]} << (8 * i);
  std::string out(size, '\0');
  if (!read_all(fd_, out.data(), size)) return std::nullopt;
  return out;
}

bool send_fds(int socket, std::string_view text, const std::vector<int>& fds) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostFds)> room{};
  iovec part{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.data();
  message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
  cmsghdr* const control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
  std::memcpy(CMSG_DATA(control), fds.data(), sizeof(int) * fds.size());
  ssize_t n = -1;
  do {
    n = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n > 0;
}

std::vector<int> receive_fds(int socket) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostFds)> room{};
  char byte = 0;
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.data();
  message.msg_controllen = room.size();
  ssize_t n = -1;
  do {
    n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  std::vector<int> out;
  if (n <= 0) return out;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    out.resize((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(out.data(), CMSG_DATA(c), out.size() * sizeof(int));
  }
  return out;
}

}  // namespace cdisim
