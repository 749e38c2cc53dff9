// Whatever bytes a raw or prepared file holds, reading it ends with a data set or with an InputError.
#include "catch.h"
#include "retort/core/error.h"
#include "retort/core/file.h"
#include "retort/data/prepared.h"
#include "retort/data/synthetic.h"
#include "temp_directory.h"

#include <fmt/format.h>

#include <cmath>
#include <random>

using namespace retort;
using namespace retort_test;

namespace {

/// Cuts, flips, inserts, repeats or removes something, a few times.
std::string mutate(std::string bytes, std::mt19937& random) {
  static constexpr std::string_view spice = "\n\r;,. \t-+eE0Nn\xff";
  const auto at = [&] { return bytes.empty() ? 0 : random() % bytes.size(); };
  for (unsigned times = 1 + random() % 4; times > 0; --times) switch (random() % 6) {
      case 0:
        bytes.resize(at());
        break;
      case 1:
        if (!bytes.empty()) bytes[at()] = static_cast<char>(random());
        break;
      case 2:
        bytes.insert(at(), 1, spice[random() % spice.size()]);
        break;
      case 3:
        bytes.insert(at(), bytes.substr(at(), random() % 100));
        break;
      case 4:
        bytes.erase(at(), random() % 50);
        break;
      case 5:
        if (!bytes.empty()) bytes[at()] = spice[random() % spice.size()];
        break;
    }
  return bytes;
}

struct Case {
  const char* id;
  const char* file;
};

std::string good_text(const Case& one, const TempDirectory& dir) {
  if (one.id == std::string_view("csv")) {
    std::string text = "time,subject,position,activity,x,y,z\n";
    for (int i = 0; i < 100; ++i)
      text += fmt::format("{:.2f},{},{},\"{}\",{},-0.5, 1e-1\n", i * 0.02, i / 50, i % 2 ? "hip" : "wrist", i / 20, i * 0.01);
    return text;
  }
  write_synthetic(dir / one.id, {.dataset = one.id, .subjects = 2, .seconds = 0.7});
  return read_file(dir / one.id / one.file);
}

}  // namespace

TEST_CASE("mutated raw files load or are refused") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const TempDirectory dir;
  for (const Case& one : {Case{"sleep", "01_Up_co.txt"}, Case{"sleep", "02_Up_co.txt"}, Case{"mhealth", "mHealth_subject1.log"},
                          Case{"wisdm", "raw/phone/accel/data_1600_accel_phone.txt"}, Case{"csv", "own.csv"}}) {
    CAPTURE(one.file);
    const std::string good = good_text(one, dir);
    const auto name = std::filesystem::path(one.file).filename();
    int loaded = 0, refused = 0;
    for (int round = 0; round < 300; ++round) {
      const auto path = dir.write(name, mutate(good, random));
      try {
        const RawDataset data = read_raw(one.id, path, {.lenient = round % 2 == 0, .hashes = false});
        ++loaded;
        for (const Recording& r : data.recordings) {
          REQUIRE(r.xyz.size() == 3 * r.samples());
          REQUIRE((r.time.empty() || r.time.size() == r.samples()));
          for (const float v : r.xyz) REQUIRE(std::isfinite(v));
          for (const std::int32_t label : r.task1)
            REQUIRE((label >= 0 && label < static_cast<std::int32_t>(data.task1_names.size())));
        }
        WindowOptions options = window_preset(round % 3 == 0 ? "released" : "strict", one.id);
        options.length = 8;
        options.step = 5;
        for (const float v : make_windows(data, options).windows) REQUIRE(std::isfinite(v));
      } catch (const InputError& error) {
        ++refused;
        REQUIRE(std::string_view(error.what()).find('\n') == std::string_view::npos);
      }
    }
    CHECK(loaded + refused >= 300);
    CHECK(loaded > 30);
  }
}

TEST_CASE("mutated prepared files load or are refused") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const TempDirectory dir;
  write_synthetic(dir / "raw", {.dataset = "sleep", .subjects = 1, .seconds = 0.5});
  WindowOptions options;
  options.length = 10;
  options.step = 10;
  save_prepared(dir / "good", make_windows(read_raw("sleep", dir / "raw"), options));
  const std::string good = read_file(dir / "good");
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    const auto path = dir.write("mutant", mutate(good, random));
    try {
      const WindowSet set = load_prepared(path, ValueCheck::all);
      REQUIRE(set.windows.size() == static_cast<std::size_t>(set.count() * set.window_size()));
    } catch (const InputError&) {
      ++refused;
    }
  }
  CHECK(refused > 100);
}
