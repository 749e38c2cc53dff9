#include "retort/core/safetensors.h"

#include "catch.h"
#include "retort/core/error.h"
#include "temp_directory.h"

#include <cstring>
#include <random>

using namespace retort;
using namespace retort_test;

namespace {

/// The bytes of a safetensors file with this header and so many bytes of data.
std::string raw_file(std::string_view header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + std::string(header) + std::string(data_bytes, '\1');
}

std::string refusal(const TempDirectory& dir, const std::string& bytes) {
  const auto path = dir.write("bad.safetensors", bytes);
  const std::string what = message_of<InputError>([&] { SafetensorsFile file(path); });
  CHECK(contains(what, path.string()));
  return what;
}

}  // namespace

TEST_CASE("arrays and metadata come back as written") {
  const TempDirectory dir;
  const auto path = dir / "a.safetensors";
  const std::vector<float> a = {1.5f, -2, 3, 4, 5, 6}, none;
  const std::vector<std::int32_t> b = {7, -8};
  const std::array arrays = {named_array("zeta", {2, 3}, std::span(a)), named_array("alpha", {2}, std::span(b)),
                             named_array("empty", {0, 5}, std::span(none)),
                             named_array("scalar", Shape{}, std::span(a).first(1))};
  write_safetensors(path, arrays, {{"note", "a \"quoted\"\nline"}, {"bytes", "\xff\xfe"}});

  const SafetensorsFile file(path);
  auto names = file.names();
  CHECK(names.size() == 4);
  CHECK(names[0] == "zeta");
  CHECK(names[1] == "alpha");
  CHECK(file.metadata().at("note") == "a \"quoted\"\nline");
  CHECK(file.shape("zeta") == Shape{2, 3});
  CHECK(std::ranges::equal(file.floats("zeta"), a));
  CHECK(std::ranges::equal(file.ints("alpha"), b));
  CHECK(file.floats("empty").empty());
  CHECK(file.floats("scalar")[0] == 1.5f);
  CHECK(file.contains("alpha"));
  CHECK_FALSE(file.contains("beta"));
  CHECK(contains(message_of<InputError>([&] { file.floats("beta"); }), "has no array 'beta'"));
  CHECK(contains(message_of<InputError>([&] { file.floats("alpha"); }), "'alpha' is I32, F32 is needed"));

  // What other programs of the format rely on: the header begins with '{' at byte 8, data is 8-aligned.
  const std::string bytes = read_file(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  CHECK(bytes[8] == '{');
  CHECK(length % 8 == 0);
  CHECK(bytes.size() == 8 + length + 4 * (6 + 2 + 0 + 1));
}

TEST_CASE("writing refuses what cannot be read back") {
  const TempDirectory dir;
  const std::vector<float> a(6);
  CHECK_THROWS_AS(named_array("a", {2, 2}, std::span(a)), Error);
  const std::array twice = {named_array("a", {6}, std::span(a)), named_array("a", {6}, std::span(a))};
  CHECK(contains(message_of<Error>([&] { write_safetensors(dir / "x", twice); }), "'a' is taken"));
  CHECK_FALSE(std::filesystem::exists(dir / "x"));
}

TEST_CASE("foreign and damaged files are refused with file and byte") {
  const TempDirectory dir;
  CHECK(contains(refusal(dir, "short"), "too short"));
  CHECK(contains(refusal(dir, std::string(100, '\x7f')), "does not fit a file of 100"));
  CHECK(contains(refusal(dir, raw_file("not json", 0)), "not JSON"));
  CHECK(contains(refusal(dir, raw_file("[1,2]", 0)), "not a JSON object"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":1e999})", 0)), "too large"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":3})", 0)), "needs dtype, shape and data_offsets"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4)), "unknown type 'F31'"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4)), "cut short"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)), "do not fit its shape"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4)), "whole number"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4)), "whole number"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}})", 0)),
                 "do not fit its shape"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1)),
                 "7 dimensions"));
  CHECK(contains(refusal(dir, raw_file(R"({"__metadata__":{"a":1}})", 0)), "not a string"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8)), "belong to no array"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                       R"("b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                                       8)),
                 "overlap"));
  CHECK(contains(refusal(dir, raw_file(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8)), "leave a gap"));
  CHECK(contains(message_of<InputError>([&] { SafetensorsFile file(dir.path()); }), "is a directory"));
}

TEST_CASE("types that cannot be viewed may be in the file") {
  const TempDirectory dir;
  const auto path = dir.write("f64", raw_file(R"({"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},)"
                                              R"("b":{"dtype":"I64","shape":[],"data_offsets":[16,24]}})",
                                              24));
  const SafetensorsFile file(path);
  CHECK(file.shape("a") == Shape{2});
  CHECK(contains(message_of<InputError>([&] { file.floats("a"); }), "'a' is F64"));
}

TEST_CASE("no change of bytes makes the reader crash") {
  const TempDirectory dir;
  const std::vector<float> a(12, 1.0f);
  const std::array arrays = {named_array("a", {3, 4}, std::span(a)), named_array("b", {12}, std::span(a))};
  write_safetensors(dir / "good", arrays, {{"k", "v"}});
  const std::string good = read_file(dir / "good");
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  int read = 0, refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string bytes = good;
    if (round % 2 == 0) bytes.resize(random() % bytes.size());
    for (unsigned i = 0; i <= random() % 3 && !bytes.empty(); ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto path = dir.write("mutant", bytes);
    try {
      const SafetensorsFile file(path);
      float sum = 0;
      for (const auto& name : file.names())
        if (name == "a" && file.shape(name).count() > 0) sum += file.floats(name).back();
      ++read;
    } catch (const InputError&) {
      ++refused;
    }
  }
  CHECK(read + refused == 400);
  CHECK(refused > 100);
}
