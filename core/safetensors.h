// The safetensors format (huggingface.co/docs/safetensors): eight bytes of header length, a JSON header, raw little-endian data.
// Weights, checkpoints and prepared data sets are all such files; Python reads them with `safetensors.numpy.load_file`.
#pragma once

#include "retort/core/file.h"
#include "retort/core/shape.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace retort {

/// One array to be written. The bytes belong to the caller.
struct NamedArray {
  std::string name;
  DType type = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;
};

/// A NamedArray over floats or int32s; throws when shape and values disagree.
NamedArray named_array(std::string name, const Shape& shape, std::span<const float> values);
NamedArray named_array(std::string name, const Shape& shape, std::span<const std::int32_t> values);

using Metadata = std::map<std::string, std::string>;

/// Writes all arrays in the given order, atomically: to a temporary name beside `path`, fsync, rename. On failure (a full disk, a
/// directory in the way) throws InputError naming the path and leaves what was at `path` untouched.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedArray> arrays, const Metadata& metadata = {});

/// A memory-mapped file, read-only. Views stay valid as long as this object lives.
class SafetensorsFile {
 public:
  /// Throws InputError naming the file and byte for anything that is not a sound safetensors file: too short, a header that is
  /// not JSON, offsets that overlap, leave gaps or pass the end, sizes that disagree with the shape. Types other than F32 and
  /// I32 may be in the file but cannot be viewed.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const Metadata& metadata() const { return metadata_; }
  std::vector<std::string> names() const;  ///< in file order
  bool contains(const std::string& name) const;

  /// Throw InputError when the name is missing or the type is another one.
  const Shape& shape(const std::string& name) const;
  std::span<const float> floats(const std::string& name) const;
  std::span<const std::int32_t> ints(const std::string& name) const;

 private:
  struct Entry {
    std::string name, type;  ///< type as the file spells it: "F32", "I32", "F64", ...
    Shape shape;
    std::span<const std::byte> bytes;
  };
  const Entry& entry(const std::string& name, const char* type) const;
  void parse();

  std::filesystem::path path_;
  MappedFile file_;
  Metadata metadata_;
  std::vector<Entry> entries_;
};

}  // namespace retort
