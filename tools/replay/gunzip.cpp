#include "tools/replay/gunzip.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>

#include "tools/command.h"

#if defined(FLASHMLA_HAS_ZLIB)
#include <zlib.h>
#endif

namespace flashmla::tools {

namespace {

[[noreturn]] void refuse(const std::string& name, std::string_view reason) {
  throw BadInput(fmt::format("{}: cannot be read: {}", name, reason));
}

#if defined(FLASHMLA_HAS_ZLIB)

// More than any trace has. A file that is made to expand beyond it is refused before it fills the
// memory.
constexpr std::size_t max_bytes = std::size_t{1} << 32;

class Inflater {
 public:
  explicit Inflater(const std::string& name) : name_(name) {
    constexpr int gzip_of_any_window = 15 + 16;
    if (inflateInit2(&stream_, gzip_of_any_window) != Z_OK)
      refuse(name_, "zlib has no memory");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Takes one member off `bytes` and appends its decompressed bytes to `text`.
  void take_member(std::string_view& bytes, std::string& text) {
    inflateReset(&stream_);
    for (int status = Z_OK; status != Z_STREAM_END;) {
      const std::size_t given =
          std::min<std::size_t>(bytes.size(), std::numeric_limits<uInt>::max());
      char room[1 << 16];
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
      stream_.avail_in = static_cast<uInt>(given);
      stream_.next_out = reinterpret_cast<Bytef*>(room);
      stream_.avail_out = sizeof(room);
      status = inflate(&stream_, Z_NO_FLUSH);
      const std::size_t made = sizeof(room) - stream_.avail_out;
      if (status == Z_BUF_ERROR || (status == Z_OK && made == 0 && given == 0))
        refuse(name_, "its compressed data end early");
      if (status != Z_OK && status != Z_STREAM_END)
        refuse(name_, "its compressed data are damaged");
      bytes.remove_prefix(given - stream_.avail_in);
      text.append(room, made);
      if (text.size() > max_bytes)
        refuse(name_, "it holds more than 4 GiB");
    }
  }

 private:
  const std::string& name_;
  z_stream stream_{};
};

#endif

}  // namespace

bool is_gzip(std::string_view bytes) {
  return bytes.starts_with("\x1f\x8b");
}

#if defined(FLASHMLA_HAS_ZLIB)

// Bytes behind the last member that do not begin another one are padding, as for gzip itself.
std::string gunzip(std::string_view bytes, const std::string& name) {
  std::string text;
  Inflater inflater(name);
  while (is_gzip(bytes))
    inflater.take_member(bytes, text);
  return text;
}

#else

std::string gunzip(std::string_view /*bytes*/, const std::string& name) {
  refuse(name, "it is compressed by gzip, and this build of the command has no zlib");
}

#endif

}  // namespace flashmla::tools
