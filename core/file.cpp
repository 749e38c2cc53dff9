#include "retort/core/file.h"

#include "retort/core/error.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

namespace retort {
namespace {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  /// Closing can report a late write error (NFS, quotas), so success needs it to be asked.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

std::string reason() { return std::strerror(errno); }

/// Opens for reading and refuses what is not a regular file, with a message that says so.
int open_regular(const std::filesystem::path& path, struct stat& info) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  check<InputError>(fd >= 0, "{}: cannot be opened: {}", path.string(), reason());
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) return fd;
  const bool directory = S_ISDIR(info.st_mode);
  ::close(fd);
  fail<InputError>("{}: is {}, a file is needed", path.string(), directory ? "a directory" : "not a regular file");
}

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

/// A new file beside `path`; the first free name of this process is taken, so two writers never share one.
std::pair<int, std::string> create_beside(const std::filesystem::path& path) {
  for (int attempt = 0;; ++attempt) {
    std::string name = fmt::format("{}.{}-{}.tmp", path.string(), ::getpid(), attempt);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return {fd, std::move(name)};
    check<InputError>(errno == EEXIST && attempt < 1000, "{}: cannot be written: {}", path.string(), reason());
  }
}

void sync_directory(const std::filesystem::path& directory) {
  // Best effort: some file systems refuse to sync a directory, and the data itself is already safe.
  Descriptor fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0) ::fsync(fd.get());
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0)
    check<InputError>(S_ISREG(info.st_mode), "{}: cannot be written: {} is in the way", path.string(),
                      S_ISDIR(info.st_mode) ? "a directory" : "something that is not a regular file");
  auto [raw_fd, temporary] = create_beside(path);
  Descriptor fd(raw_fd);
  bool ok = true;
  for (const auto piece : pieces) ok = ok && write_all(fd.get(), piece);
  ok = ok && ::fsync(fd.get()) == 0;
  ok = ok && fd.close();
  ok = ok && ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!ok) {
    const std::string why = reason();
    ::unlink(temporary.c_str());
    fail<InputError>("{}: cannot be written: {}", path.string(), why);
  }
  sync_directory(path.parent_path());
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  const auto bytes = std::as_bytes(std::span(content.data(), content.size()));
  write_file_atomically(path, std::span(&bytes, 1));
}

std::string read_file(const std::filesystem::path& path) {
  struct stat info {};
  const Descriptor fd(open_regular(path, info));
  std::string content(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    check<InputError>(n >= 0, "{}: cannot be read: {}", path.string(), reason());
    if (n == 0) break;  // it shrank while we read: what is there is what we return
    done += static_cast<std::size_t>(n);
  }
  content.resize(done);
  return content;
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  struct stat info {};
  const Descriptor fd(open_regular(path, info));
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;
  void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  check<InputError>(map != MAP_FAILED, "{}: cannot be mapped into memory ({} bytes): {}", path.string(), size_, reason());
  data_ = static_cast<const std::byte*>(map);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

namespace {

/// The whole pages that hold these bytes.
std::span<std::byte> pages(std::span<const std::byte> bytes) {
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data()), first = begin / page * page;
  const auto end = (begin + bytes.size() + page - 1) / page * page;
  return {reinterpret_cast<std::byte*>(first), end - first};
}

}  // namespace

bool in_memory(std::span<const std::byte> bytes) {
  if (bytes.empty()) return true;
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::array<unsigned char, 4096> present{};
  for (std::span<std::byte> rest = pages(bytes); !rest.empty();) {
    const std::size_t size = std::min(rest.size(), present.size() * page), count = size / page;
    if (::mincore(rest.data(), size, present.data()) != 0) return true;
    if (!std::all_of(present.begin(), present.begin() + static_cast<std::ptrdiff_t>(count),
                     [](unsigned char p) { return p & 1; }))
      return false;
    rest = rest.subspan(size);
  }
  return true;
}

void read_ahead(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  constexpr std::size_t piece = 128 << 10;  // Linux reads no more for one call than its readahead window, by default 128 KB
  for (std::span<std::byte> rest = pages(bytes); !rest.empty(); rest = rest.subspan(std::min(piece, rest.size())))
    ::madvise(rest.data(), std::min(piece, rest.size()), MADV_WILLNEED);
}

std::size_t available_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) return std::stoull(line.substr(line.find(':') + 1)) * 1024;
  return 0;
}

}  // namespace retort
