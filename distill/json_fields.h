// Structs as JSON, each field named once: a struct lists its fields in `visit_fields(struct, visitor)` and is written, read and
// checked from that one list. Reading is strict: a missing key, an unknown key and a wrong type are InputErrors that name the key
// and where it was read. Only a std::optional, and a field named by `visit.optional(key, field)`, may be missing: files from
// before it existed stay readable. The latter is not written while it has the value T{}, unless a third argument says
// `Written::always`. A double that is not finite is written as null (JSON has no NaN) and null is read back as NaN.
#pragma once

#include "retort/core/error.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace retort {

/// JSON that keeps its keys in the order in which they were written, so that files read like the structs they come from.
using Json = nlohmann::ordered_json;

/// For `template <FieldsOf<MyStruct> S, class V> void visit_fields(S& s, V& visit)`: MyStruct, const or not.
template <class S, class T>
concept FieldsOf = std::same_as<std::remove_const_t<S>, T>;

enum class Written { unless_default, always };

template <class T>
Json fields_to_json(const T& value);
template <class T>
T fields_from_json(const Json& json, const std::string& where);

namespace json_detail {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

template <class T>
Json to_json_value(const T& value) {
  if constexpr (std::same_as<T, double>) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
  } else if constexpr (std::same_as<T, bool> || std::integral<T> || std::same_as<T, std::string>) {
    return Json(value);
  } else if constexpr (IsOptional<T>::value) {
    return value ? to_json_value(*value) : Json(nullptr);
  } else if constexpr (IsVector<T>::value) {
    Json array = Json::array();
    for (const auto& item : value) array.push_back(to_json_value(item));
    return array;
  } else {
    return fields_to_json(value);
  }
}

[[noreturn]] inline void wrong_type(const std::string& where, const std::string& key, const char* expected, const Json& found) {
  fail<InputError>("{}: '{}' must be {}, it is {}", where, key, expected, found.type_name());
}

template <std::integral T>
T integer_from_json(const Json& json, const std::string& where, const std::string& key) {
  if (!json.is_number_integer()) wrong_type(where, key, "a whole number", json);
  const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.template get<std::uint64_t>())
                                              : std::in_range<T>(json.template get<std::int64_t>());
  check<InputError>(fits, "{}: '{}' is {}, which is out of range", where, key, json.dump());
  return json.template get<T>();
}

template <class T>
T from_json_value(const Json& json, const std::string& where, const std::string& key) {
  if constexpr (std::same_as<T, double>) {
    if (json.is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (!json.is_number()) wrong_type(where, key, "a number", json);
    return json.template get<double>();
  } else if constexpr (std::same_as<T, bool>) {
    if (!json.is_boolean()) wrong_type(where, key, "true or false", json);
    return json.template get<bool>();
  } else if constexpr (std::integral<T>) {
    return integer_from_json<T>(json, where, key);
  } else if constexpr (std::same_as<T, std::string>) {
    if (!json.is_string()) wrong_type(where, key, "a string", json);
    return json.template get<std::string>();
  } else if constexpr (IsOptional<T>::value) {
    if (json.is_null()) return std::nullopt;
    return from_json_value<typename T::value_type>(json, where, key);
  } else if constexpr (IsVector<T>::value) {
    if (!json.is_array()) wrong_type(where, key, "a list", json);
    T values;
    for (const Json& item : json) values.push_back(from_json_value<typename T::value_type>(item, where, key));
    return values;
  } else {
    if (!json.is_object()) wrong_type(where, key, "an object", json);
    return fields_from_json<T>(json, where + ": " + key);
  }
}

struct Writer {
  Json& json;
  template <class T>
  void operator()(const char* key, const T& value) {
    json[key] = to_json_value(value);
  }
  template <class T>
  void optional(const char* key, const T& value, Written written = Written::unless_default) {
    if (written == Written::always || value != T{}) (*this)(key, value);
  }
};

struct Reader {
  const Json& json;
  const std::string& where;
  std::set<std::string> known = {};
  template <class T>
  void operator()(const char* key, T& value) {
    known.insert(key);
    const auto found = json.find(key);
    if constexpr (IsOptional<T>::value)
      if (found == json.end()) return;  // an older file
    check<InputError>(found != json.end(), "{}: '{}' is missing", where, key);
    value = from_json_value<T>(*found, where, key);
  }
  template <class T>
  void optional(const char* key, T& value, Written = Written::unless_default) {
    if (json.contains(key)) (*this)(key, value);
  }
};

}  // namespace json_detail

template <class T>
Json fields_to_json(const T& value) {
  Json json = Json::object();
  json_detail::Writer writer{json};
  visit_fields(value, writer);
  return json;
}

/// `where` begins every message: a file name, or file:line.
template <class T>
T fields_from_json(const Json& json, const std::string& where) {
  check<InputError>(json.is_object(), "{}: expected a JSON object, found {}", where, json.type_name());
  T value{};
  json_detail::Reader reader{json, where};
  visit_fields(value, reader);
  for (const auto& item : json.items())
    check<InputError>(reader.known.count(item.key()) > 0, "{}: unknown key '{}'", where, item.key());
  return value;
}

/// Parses text; a syntax error is an InputError that says where in the text it is.
Json parse_json(std::string_view text, const std::string& where);

}  // namespace retort
