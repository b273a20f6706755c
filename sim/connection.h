#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cdisim {

/// One end of a stream socket between two processes. A message is its length (4 bytes, least first) and that
/// many bytes.
class Connection {
 public:
  /// Owns the file descriptor.
  explicit Connection(int fd) : fd_(fd) {}
  Connection(Connection&& other) noexcept;
  Connection& operator=(Connection&&) = delete;
  ~Connection();

  int fd() const { return fd_; }

  /// @returns false where the other end is closed.
  bool send(std::string_view message) const;
  /// @returns none at the end.
  std::optional<std::string> receive() const;

 private:
  int fd_;
};

/// Sends a short text with file descriptors over any socket. @returns false where the other end is closed.
bool send_fds(int socket, std::string_view text, const std::vector<int>& fds);

/// The file descriptors that came with the next text; none at the end.
std::vector<int> receive_fds(int socket);

}  // namespace cdisim
