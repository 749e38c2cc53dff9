// Files that are either whole or not there.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace retort {

/// Writes `content` to a temporary name beside `path`, fsyncs, renames, fsyncs the directory. Throws InputError naming the path
/// and the system's reason; then nothing is left behind and an earlier file at `path` is as it was.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// The same with pieces, so that a large file needs no copy in memory.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);

/// The whole file; throws InputError naming the path and reason.
std::string read_file(const std::filesystem::path& path);

/// A read-only memory map of a file; empty files map to an empty span. Throws InputError naming the path and reason.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Whether all pages under these bytes are in memory, so that reading them does not wait for a disk. True where the system cannot
/// say.
bool in_memory(std::span<const std::byte> bytes);

/// Asks the system to read the pages under these bytes of a mapped file into memory, and does not wait for them (though for its
/// turn at a busy disk). Only a request: it may do nothing, and never fails.
void read_ahead(std::span<const std::byte> bytes);

/// Bytes of memory that could be filled without swapping (Linux's MemAvailable); 0 where the system does not say.
std::size_t available_memory();

}  // namespace retort
