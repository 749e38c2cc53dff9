#include "retort/core/safetensors.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

namespace retort {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian; a big-endian build would need swaps");

using Json = nlohmann::ordered_json;
constexpr std::uint64_t max_header = 100'000'000;  ///< the format's own limit

const char* type_name(DType type) { return type == DType::f32 ? "F32" : "I32"; }

/// Bytes of one element, 0 for a type the format does not have.
std::int64_t type_size(std::string_view type) {
  if (type == "BOOL" || type == "U8" || type == "I8" || type == "F8_E4M3" || type == "F8_E5M2") return 1;
  if (type == "I16" || type == "U16" || type == "F16" || type == "BF16") return 2;
  if (type == "I32" || type == "U32" || type == "F32") return 4;
  if (type == "I64" || type == "U64" || type == "F64") return 8;
  return 0;
}

template <class T>
NamedArray make_array(std::string name, DType type, const Shape& shape, std::span<const T> values) {
  check(shape.count() == static_cast<std::int64_t>(values.size()), "safetensors: {} has shape {} = {} values, {} were given",
        name, shape, shape.count(), values.size());
  return {std::move(name), type, shape, std::as_bytes(values)};
}

std::string make_header(std::span<const NamedArray> arrays, const Metadata& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const NamedArray& array : arrays) {
    check(array.name != "__metadata__" && !header.contains(array.name), "safetensors: the name '{}' is taken", array.name);
    check(array.bytes.size() == static_cast<std::size_t>(array.shape.count()) * item_size,
          "safetensors: {} {} needs {} bytes, has {}", array.name, array.shape,
          array.shape.count() * static_cast<std::int64_t>(item_size), array.bytes.size());
    header[array.name] = {{"dtype", type_name(array.type)},
                          {"shape", std::vector<std::int64_t>(array.shape.sizes().begin(), array.shape.sizes().end())},
                          {"data_offsets", {offset, offset + array.bytes.size()}}};
    offset += array.bytes.size();
  }
  // A user's file name may not be UTF-8; a replacement character is better than no file.
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data starts at a multiple of 8, so mapped floats are aligned
  check(text.size() <= max_header, "safetensors: the header has {} bytes, the format allows {}", text.size(), max_header);
  return text;
}

/// The product of the sizes times the item size; false for sizes that no Shape can have.
bool byte_count(const std::vector<std::int64_t>& sizes, std::int64_t item, std::uint64_t& total) {
  std::int64_t product = std::max<std::int64_t>(item, item_size);
  for (const std::int64_t size : sizes)
    if (__builtin_mul_overflow(product, std::max<std::int64_t>(size, 1), &product)) return false;
  total = static_cast<std::uint64_t>(item);
  for (const std::int64_t size : sizes) total *= static_cast<std::uint64_t>(size);
  return true;
}

/// One array's line of the header.
struct Item {
  std::string type;
  Shape shape;
  std::uint64_t begin = 0, end = 0;  ///< bytes, counted from the start of the data
};

std::uint64_t whole_number(const Json& value, const std::string& where, const std::string& name) {
  // Asked before get(), which would turn 1.5 into 1 and -1 into a huge number.
  check<InputError>(value.is_number_unsigned() && value.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max(),
                    "{}: '{}': a size or offset is not a whole number", where, name);
  return value.get<std::uint64_t>();
}

Item parse_item(const std::string& where, const std::string& name, const Json& json, std::uint64_t data_size,
                std::uint64_t data_at) {
  Item item;
  std::vector<std::int64_t> sizes;
  std::vector<std::uint64_t> offsets;
  try {
    item.type = json.at("dtype").get<std::string>();
    for (const auto& size : json.at("shape")) sizes.push_back(static_cast<std::int64_t>(whole_number(size, where, name)));
    for (const auto& offset : json.at("data_offsets")) offsets.push_back(whole_number(offset, where, name));
  } catch (const Json::exception&) {
    fail<InputError>("{}: '{}': the header needs dtype, shape and data_offsets", where, name);
  }
  const std::int64_t item_bytes = type_size(item.type);
  check<InputError>(item_bytes != 0, "{}: '{}': unknown type '{}'", where, name, item.type);
  check<InputError>(sizes.size() <= Shape::max_rank, "{}: '{}': {} dimensions, at most {} are supported", where, name,
                    sizes.size(), static_cast<int>(Shape::max_rank));
  check<InputError>(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data_size,
                    "{}: '{}': data offsets pass the end of the file ({} bytes of data); cut short?", where, name, data_size);
  item.begin = offsets[0], item.end = offsets[1];
  std::uint64_t needed = 0;
  check<InputError>(byte_count(sizes, item_bytes, needed) && needed == item.end - item.begin,
                    "{}: '{}': byte {}: {} bytes of data do not fit its shape ({}) of {}", where, name, data_at + item.begin,
                    item.end - item.begin, fmt::join(sizes, ", "), item.type);
  item.shape = Shape(sizes);
  return item;
}

}  // namespace

NamedArray named_array(std::string name, const Shape& shape, std::span<const float> values) {
  return make_array(std::move(name), DType::f32, shape, values);
}

NamedArray named_array(std::string name, const Shape& shape, std::span<const std::int32_t> values) {
  return make_array(std::move(name), DType::i32, shape, values);
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedArray> arrays, const Metadata& metadata) {
  const std::string header = make_header(arrays, metadata);
  const std::uint64_t length = header.size();
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(&length, 1)),
                                                    std::as_bytes(std::span(header.data(), header.size()))};
  for (const NamedArray& array : arrays) pieces.push_back(array.bytes);
  write_file_atomically(path, pieces);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) { parse(); }

void SafetensorsFile::parse() {
  const std::string where = path_.string();
  const auto bytes = file_.bytes();
  check<InputError>(bytes.size() >= 8, "{}: {} bytes, too short for a safetensors file", where, bytes.size());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  check<InputError>(length <= max_header && length <= bytes.size() - 8,
                    "{}: byte 0: header of {} bytes does not fit a file of {}; not a safetensors file, or cut short", where,
                    length, bytes.size());
  Json header;
  try {
    header = Json::parse(file_.text().substr(8, length));
  } catch (const Json::parse_error& error) {
    fail<InputError>("{}: byte {}: the header is not JSON; not a safetensors file", where, 8 + error.byte);
  } catch (const Json::exception&) {  // 1e999
    fail<InputError>("{}: a number in the header is too large; not a safetensors file", where);
  }
  check<InputError>(header.is_object(), "{}: byte 8: the header is not a JSON object", where);

  const auto data = bytes.subspan(8 + length);
  for (const auto& [name, item] : header.items()) {
    if (name == "__metadata__") {
      check<InputError>(item.is_object(), "{}: __metadata__ is not a JSON object", where);
      for (const auto& [key, value] : item.items()) {
        check<InputError>(value.is_string(), "{}: metadata '{}' is not a string", where, key);
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    const Item parsed = parse_item(where, name, item, data.size(), 8 + length);
    entries_.push_back({name, parsed.type, parsed.shape, data.subspan(parsed.begin, parsed.end - parsed.begin)});
  }

  std::ranges::stable_sort(entries_, [](const Entry& a, const Entry& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  const std::byte* next = data.data();
  for (const Entry& entry : entries_) {
    check<InputError>(entry.bytes.data() == next, "{}: '{}': byte {}: its data overlap the array before it or leave a gap", where,
                      entry.name, entry.bytes.data() - bytes.data());
    next += entry.bytes.size();
  }
  check<InputError>(next == data.data() + data.size(), "{}: byte {}: {} bytes belong to no array", where, next - bytes.data(),
                    data.data() + data.size() - next);
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> out;
  for (const Entry& entry : entries_) out.push_back(entry.name);
  return out;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return std::ranges::any_of(entries_, [&](const Entry& entry) { return entry.name == name; });
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name, const char* type) const {
  const auto found = std::ranges::find(entries_, name, &Entry::name);
  check<InputError>(found != entries_.end(), "{}: has no array '{}'", path_.string(), name);
  if (type) {
    check<InputError>(found->type == type, "{}: '{}' is {}, {} is needed", path_.string(), name, found->type, type);
    check<InputError>(reinterpret_cast<std::uintptr_t>(found->bytes.data()) % item_size == 0,
                      "{}: '{}': its data are not aligned to {} bytes; write the file again with another tool", path_.string(),
                      name, item_size);
  }
  return *found;
}

const Shape& SafetensorsFile::shape(const std::string& name) const { return entry(name, nullptr).shape; }

std::span<const float> SafetensorsFile::floats(const std::string& name) const {
  const Entry& found = entry(name, "F32");
  return {reinterpret_cast<const float*>(found.bytes.data()), found.bytes.size() / item_size};
}

std::span<const std::int32_t> SafetensorsFile::ints(const std::string& name) const {
  const Entry& found = entry(name, "I32");
  return {reinterpret_cast<const std::int32_t*>(found.bytes.data()), found.bytes.size() / item_size};
}

}  // namespace retort
