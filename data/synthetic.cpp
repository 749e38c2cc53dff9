#include "retort/data/synthetic.h"

#include "retort/core/error.h"
#include "retort/core/file.h"
#include "retort/data/motion.h"
#include "retort/data/recording.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <numbers>
#include <set>
#include <string_view>

namespace retort {
namespace {

namespace fs = std::filesystem;
using motion::Movement;
using motion::Vec3;

constexpr double gravity = 9.81;  // m/s2

struct Plan {
  std::int32_t subjects;
  double seconds;
  std::uint64_t seed;
};

/// Puts files below one directory, with the marker in every directory used, and counts.
class Writer {
 public:
  Writer(fs::path root, std::string marker) : root_(std::move(root)), marker_(std::move(marker)) {}

  void write(const fs::path& relative, std::string_view text, std::int64_t rows) {
    const fs::path path = root_ / relative;
    if (directories_.insert(path.parent_path()).second) {
      std::error_code error;
      fs::create_directories(path.parent_path(), error);
      check<InputError>(!error, "{}: cannot be made: {}", path.parent_path().string(), error.message());
      put(path.parent_path() / synthetic_marker, marker_);
    }
    put(path, text);
    ++summary_.files;
    summary_.bytes += static_cast<std::int64_t>(text.size());
    summary_.rows += rows;
  }

  const SyntheticSummary& summary() const { return summary_; }

 private:
  static void put(const fs::path& path, std::string_view text) {
    std::ofstream file(path, std::ios::binary);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    file.close();
    if (file.good()) return;
    const std::string reason = std::strerror(errno);
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) fs::remove(path, ignored);  // half a recording would pass for a whole one
    fail<InputError>("{}: cannot be written: {}", path.string(), reason);
  }

  fs::path root_;
  std::string marker_;
  std::set<fs::path> directories_;
  SyntheticSummary summary_;
};

/// Independent random numbers for each (purpose, subject, place, activity): more subjects or seconds do not change the others.
Random stream(const Plan& plan, std::uint64_t purpose, std::int32_t subject, std::uint64_t place = 0,
              std::uint64_t activity = 0) {
  return Random(plan.seed, (purpose << 48) + (static_cast<std::uint64_t>(subject) << 16) + (place << 8) + activity);
}

std::size_t samples(double seconds, double hz) { return static_cast<std::size_t>(std::llround(seconds * hz)); }

// --- Sleep
// -------------------------------------------------------------------------------------------------------------------------

struct Posture {
  std::string_view name;
  double degrees;  ///< direction of the belly, 90 is up (the paper's table 2)
};
constexpr std::array<Posture, 12> postures = {{{"Up", 90},
                                               {"UpRight", 60},
                                               {"RightUp", 30},
                                               {"Right", 0},
                                               {"RightDown", 330},
                                               {"DownRight", 300},
                                               {"Down", 270},
                                               {"DownLeft", 240},
                                               {"LeftDown", 210},
                                               {"Left", 180},
                                               {"LeftUp", 150},
                                               {"UpLeft", 120}}};

struct Place {
  std::string_view name;
  double pitch, yaw;        ///< how the skin lies there, degrees
  double breathing, heart;  ///< tilt by breathing in degrees, heart beat in g
};
constexpr std::array<Place, 3> places = {
    {{"co", 26, 12, 0.4, 0.007}, {"nguc", 6, 0, 1.2, 0.009}, {"bung", -10, -10, 2.2, 0.002}}};

/// One minute of one sleeper in g; the axes are right side, head, belly.
std::vector<Vec3> sleep_recording(const Plan& plan, std::int32_t subject, std::size_t place_index, std::size_t posture_index) {
  constexpr motion::Sensor adxl345 = {0.006, 2.0, 1.0 / 256};
  constexpr double two_pi = 2 * std::numbers::pi;
  const Place& place = places[place_index];
  Random person = stream(plan, 1, subject), mounting = stream(plan, 2, subject, place_index);
  Random random = stream(plan, 3, subject, place_index, posture_index);
  Random lying = stream(plan, 4, subject, 0, posture_index);  // how this person lies is the same for all three sensors
  const double breath_hz = person.uniform(0.19, 0.32), heart_hz = person.uniform(0.9, 1.35);
  const motion::Rotation mounted =
      motion::combine(motion::random_rotation(4.5, mounting), motion::rotation(place.pitch, 0, place.yaw));
  const double roll = postures[posture_index].degrees + 5.0 * lying.normal() + 2.0 * random.normal();
  const double pitch = 2.5 * lying.normal() + 2.0 * random.normal();
  const double breath_phase = random.uniform(0, two_pi), heart_phase = random.uniform(0, two_pi);
  const double drift = 1.2 * random.normal();

  std::vector<Vec3> out;
  double twitch = 0, twitch_size = 0;
  const std::size_t n = samples(plan.seconds, 50);
  for (std::size_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / 50;
    const double angle = (roll + drift * std::sin(two_pi * t / 47)) * std::numbers::pi / 180;
    const double tilt = (pitch + place.breathing * std::sin(two_pi * breath_hz * t + breath_phase)) * std::numbers::pi / 180;
    Vec3 up = {std::cos(angle), std::sin(angle) * std::sin(tilt), std::sin(angle) * std::cos(tilt)};
    up[2] += place.heart * std::pow(std::max(0.0, std::sin(two_pi * heart_hz * t + heart_phase)), 8);
    if (random.uniform() < 1.0 / (45 * 50)) twitch = random.uniform(0.4, 1.2), twitch_size = random.uniform(0.03, 0.2);
    if (twitch > 0) {
      twitch -= 0.02;
      for (double& value : up) value += twitch_size * random.normal();
    }
    out.push_back(motion::measure(motion::turn(mounted, up), adxl345, random));
  }
  return out;
}

void write_sleep(const Plan& plan, Writer& writer) {
  std::string text;
  for (std::int32_t subject = 1; subject <= plan.subjects; ++subject)
    for (std::size_t posture = 0; posture < postures.size(); ++posture)
      for (std::size_t place = 0; place < places.size(); ++place) {
        const bool timed = subject % 2 == 1;  // both formats of the real files
        const auto values = sleep_recording(plan, subject, place, posture);
        text = timed ? "" : "ax,ay,az\n";
        for (std::size_t i = 0; i < values.size(); ++i) {
          const Vec3& v = values[i];
          if (timed)
            fmt::format_to(std::back_inserter(text), "{:.2f},{:.4f},{:.4f},{:.4f};\n", static_cast<double>(i) / 50, v[0], v[1],
                           v[2]);
          else
            fmt::format_to(std::back_inserter(text), "{:.4f},{:.4f},{:.4f}\n", v[0], v[1], v[2]);
        }
        writer.write(fmt::format("{:02}_{}_{}.txt", subject, postures[posture].name, places[place].name), text,
                     static_cast<std::int64_t>(values.size()));
      }
}

// --- Activities (MHEALTH, WISDM)
// ---------------------------------------------------------------------------------------------------

/// How a body part is held (degrees from standing) and moves (m/s2).
struct Part {
  double pitch, roll, amplitude, pause;
};
template <std::size_t Places>
struct Activity {
  double hz;
  std::array<Part, Places> part;
};

/// One sensor during one activity of one person, sample by sample.
class ActivitySource {
 public:
  template <std::size_t Places>
  ActivitySource(const Plan& plan, const Activity<Places>& activity, std::int32_t subject, std::size_t place, std::size_t index,
                 const Vec3& up, const motion::Rotation& worn, std::uint64_t pattern, double amount = 1)
      : random_(stream(plan, 5, subject, place, index)),
        periodic_(movement(plan, activity, subject, place, amount), pattern, random_) {
    const Part& part = activity.part[place];
    Random mounting = stream(plan, 6, subject, place);
    const motion::Rotation mounted = motion::random_rotation(8, mounting), habit = motion::random_rotation(9, random_);
    const motion::Rotation held = motion::combine(motion::rotation(part.pitch, 0, part.roll), habit);
    mounted_ = motion::combine(worn, mounted);
    base_ = motion::turn(motion::combine(mounted_, held), up);
  }

  Vec3 next(double dt, const motion::Sensor& sensor) {
    const Vec3 moved = motion::turn(mounted_, periodic_.next(dt, random_));
    return motion::measure({base_[0] + moved[0], base_[1] + moved[1], base_[2] + moved[2]}, sensor, random_);
  }

 private:
  template <std::size_t Places>
  static Movement movement(const Plan& plan, const Activity<Places>& activity, std::int32_t subject, std::size_t place,
                           double amount) {
    Random person = stream(plan, 7, subject);
    const double pace = std::clamp(1 + 0.08 * person.normal(), 0.75, 1.25);
    return {activity.hz * pace, activity.part[place].amplitude * amount, activity.part[place].pause};
  }

  Random random_;
  motion::Periodic periodic_;
  motion::Rotation mounted_{};
  Vec3 base_{};
};

// Chest, left ankle, right arm. Index 0 is Null: what people do between the exercises is drawn from the others.
constexpr std::array<Activity<3>, 13> mhealth_activities = {{
    {0.4, {{{3, 0, 0.3, 0}, {3, 0, 0.3, 0}, {10, 0, 0.5, 0}}}},      // Null
    {0.3, {{{0, 0, 0.08, 0}, {0, 0, 0.04, 0}, {0, 0, 0.1, 0}}}},     // standing
    {0.3, {{{12, 0, 0.08, 0}, {20, 0, 0.04, 0}, {55, 0, 0.1, 0}}}},  // sitting
    {0.3, {{{88, 0, 0.1, 0}, {84, 0, 0.04, 0}, {80, 0, 0.06, 0}}}},  // lying
    {1.8, {{{3, 0, 1.6, 0}, {0, 0, 4.8, 0}, {5, 0, 2.2, 0}}}},       // walking
    {1.5, {{{7, 0, 1.7, 0}, {5, 0, 4.2, 0}, {9, 0, 1.9, 0}}}},       // climbing stairs
    {0.45, {{{35, 0, 3.6, 0}, {0, 0, 0.4, 0}, {15, 0, 3.0, 0}}}},    // waist bends
    {0.5, {{{0, 0, 0.4, 0}, {0, 0, 0.15, 0}, {50, 0, 5.0, 0}}}},     // arm elevation
    {0.5, {{{10, 0, 1.6, 0}, {15, 0, 1.0, 0}, {45, 0, 1.6, 0}}}},    // knees bending
    {1.2, {{{28, 0, 0.7, 0}, {8, 0, 3.4, 0}, {42, 0, 0.6, 0}}}},     // cycling
    {2.5, {{{5, 0, 6.0, 0}, {0, 0, 9.0, 0}, {60, 0, 6.5, 0}}}},      // jogging
    {2.75, {{{8, 0, 7.5, 0}, {0, 0, 12.0, 0}, {65, 0, 8.5, 0}}}},    // running
    {2.0, {{{3, 0, 8.0, 0}, {0, 0, 9.0, 0}, {15, 0, 6.0, 0}}}},      // jumping
}};

// Phone in the trouser pocket, watch on the wrist.
constexpr std::array<Activity<2>, 18> wisdm_activities = {{
    {1.8, {{{5, 0, 2.8, 0}, {10, 0, 2.2, 0}}}},         // A walking
    {2.6, {{{5, 0, 7.5, 0}, {60, 10, 8.0, 0}}}},        // B jogging
    {1.6, {{{10, 0, 2.7, 0}, {12, 0, 2.0, 0}}}},        // C stairs
    {0.25, {{{85, 0, 0.06, 0}, {70, 0, 0.15, 0}}}},     // D sitting
    {0.3, {{{0, 0, 0.12, 0}, {8, 0, 0.25, 0}}}},        // E standing
    {4.4, {{{85, 0, 0.06, 0}, {84, 10, 0.5, 0.1}}}},    // F typing
    {3.4, {{{5, 0, 0.3, 0}, {95, 50, 3.2, 0.05}}}},     // G brushing teeth
    {0.36, {{{84, 0, 0.1, 0}, {80, 30, 1.5, 0.3}}}},    // H soup
    {0.30, {{{84, 0, 0.1, 0}, {75, 25, 1.4, 0.35}}}},   // I chips
    {0.40, {{{84, 0, 0.1, 0}, {82, 33, 1.6, 0.3}}}},    // J pasta
    {0.20, {{{84, 0, 0.1, 0}, {85, 40, 1.3, 0.45}}}},   // K drinking
    {0.26, {{{84, 0, 0.1, 0}, {92, 38, 1.3, 0.3}}}},    // L sandwich
    {0.7, {{{5, 0, 3.5, 0.25}, {15, 0, 2.8, 0.2}}}},    // M kicking
    {0.6, {{{3, 0, 1.4, 0.2}, {50, 20, 3.8, 0.3}}}},    // O catch
    {1.8, {{{5, 0, 1.6, 0}, {55, 15, 6.0, 0}}}},        // P dribbling
    {2.9, {{{85, 0, 0.06, 0}, {86, 15, 0.45, 0.15}}}},  // Q writing
    {2.6, {{{3, 0, 0.25, 0}, {70, 40, 5.5, 0}}}},       // R clapping
    {0.8, {{{3, 0, 0.4, 0}, {48, 10, 2.6, 0.1}}}},      // S folding
}};

void mhealth_columns(const std::array<Vec3, 3>& acc, double t, std::int32_t label, Random& random, std::string& text) {
  auto out = std::back_inserter(text);
  const auto three = [&](const Vec3& v) { fmt::format_to(out, "{:.5g}\t{:.5g}\t{:.5g}\t", v[0], v[1], v[2]); };
  const auto noise = [&](double centre, double spread) { return centre + spread * (random.uniform() - 0.5); };
  three(acc[0]);
  const double beat = std::pow(std::max(0.0, std::sin(2 * std::numbers::pi * 1.2 * t)), 20);
  fmt::format_to(out, "{:.5g}\t{:.5g}\t", noise(beat, 0.1), noise(0.8 * beat, 0.1));  // two-lead ECG, mV
  for (const std::size_t limb : {1u, 2u}) {
    three(acc[limb]);
    for (int i = 0; i < 6; ++i) fmt::format_to(out, "{:.5g}\t", noise(0, 1));  // gyroscope and magnetometer, not used
  }
  fmt::format_to(out, "{}\n", label);
}

void write_mhealth(const Plan& plan, Writer& writer) {
  constexpr motion::Sensor shimmer = {0.05, 6 * gravity, 0.0024};
  constexpr std::array<Vec3, 3> up = {{{-gravity, 0, 0}, {0, -gravity, 0}, {-2.8, -9.4, 0}}};
  constexpr double dt = 0.02;
  std::string text;
  for (std::int32_t subject = 1; subject <= plan.subjects; ++subject) {
    text.clear();
    std::int64_t rows = 0;
    Random script = stream(plan, 8, subject), filler = stream(plan, 9, subject);
    const auto play = [&](std::size_t activity, std::int32_t label, double seconds, std::size_t index, double amount) {
      std::vector<ActivitySource> sources;
      for (std::size_t place = 0; place < 3; ++place)
        sources.emplace_back(plan, mhealth_activities[activity], subject, place, index, up[place], motion::rotation(0, 0, 0),
                             1000 + 3 * activity + place, amount);
      for (std::size_t i = samples(seconds, 1 / dt); i > 0; --i, ++rows) {
        std::array<Vec3, 3> acc{};
        for (std::size_t place = 0; place < 3; ++place) acc[place] = sources[place].next(dt, shimmer);
        mhealth_columns(acc, static_cast<double>(rows) * dt, label, filler, text);
      }
    };
    for (std::size_t activity = 1; activity < mhealth_activities.size(); ++activity) {
      // Half of the Null time people stand about or sit, the other half they are on their way.
      for (std::size_t piece = 0; piece < 4; ++piece) {
        const std::size_t like = script.below(2) == 0 ? script.below(3) : 4 + script.below(2);
        const double seconds = plan.seconds * script.uniform(0.1, 0.35), amount = script.uniform(0.5, 1.2);
        play(like, 0, seconds, 16 * activity + piece, amount);
      }
      const bool jump = activity + 1 == mhealth_activities.size();  // a third of the time, as in the real data
      play(activity, static_cast<std::int32_t>(activity), jump ? plan.seconds / 3 : plan.seconds, activity, 1);
    }
    writer.write(fmt::format("mHealth_subject{}.log", subject), text, rows);
  }
}

/// As Java prints a float: shortest digits, at least one after the point, an exponent below 1e-3.
void java_float(double value, std::string& text) {
  const auto v = static_cast<float>(value);
  char digits[64];
  const bool tiny = v != 0 && std::fabs(v) < 1e-3f;
  const auto end =
      std::to_chars(digits, digits + sizeof digits, v, tiny ? std::chars_format::scientific : std::chars_format::fixed).ptr;
  std::string_view all(digits, static_cast<std::size_t>(end - digits));
  const std::size_t e = all.find('e');
  const std::string_view mantissa = all.substr(0, e);
  text += mantissa;
  if (mantissa.find('.') == std::string_view::npos) text += ".0";
  if (!tiny) return;
  text += "E-";  // to_chars writes e-05
  const std::string_view exponent = all.substr(e + 2);
  text += exponent[0] == '0' ? exponent.substr(1) : exponent;
}

void write_wisdm(const Plan& plan, Writer& writer) {
  constexpr std::string_view codes = "ABCDEFGHIJKLMOPQRS";
  constexpr std::array<std::string_view, 2> devices = {"phone", "watch"};
  constexpr std::array<motion::Sensor, 2> sensors = {{{0.05, 2 * gravity, 1.0 / 1024}, {0.08, 2 * gravity, 1.0 / 512}}};
  constexpr Vec3 up = {0, gravity, 0};
  std::string text;
  for (std::int32_t subject = 0; subject < plan.subjects; ++subject)
    for (std::size_t device = 0; device < 2; ++device) {
      text.clear();
      std::int64_t rows = 0;
      const double hz = device == 0 && subject % 4 == 3 ? 50 : 20;
      Random clock = stream(plan, 10, subject, device), person = stream(plan, 11, subject);
      // A phone goes into the pocket either way up, screen in or out, and lies there askew. A watch is turned by a right angle, its
      // x axis along the forearm, to one side or the other with the wrist it is worn on; it sits more or less straight. So neither is
      // told from the other by gravity alone.
      const auto flip = static_cast<double>(person.below(4));
      const double askew = person.uniform(-80, 80), side = person.below(2) == 0 ? 90 : -90, slip = 25 * person.normal();
      const motion::Rotation worn = device == 0 ? motion::rotation(0, std::fmod(flip, 2) * 180, (flip < 2 ? 0 : 180) + askew)
                                                : motion::rotation(0, slip, side + slip);
      auto now = static_cast<std::int64_t>(clock.uniform(1e13, 4e14));
      for (std::size_t activity = 0; activity < wisdm_activities.size(); ++activity) {
        ActivitySource source(plan, wisdm_activities[activity], subject, device, activity, up, worn,
                              2000 + 2 * activity + device);
        now += static_cast<std::int64_t>(clock.uniform(2e10, 6e11));  // a rest, then the next activity
        for (std::size_t i = samples(plan.seconds, hz); i > 0; --i, ++rows) {
          const Vec3 v = source.next(1 / hz, sensors[device]);
          fmt::format_to(std::back_inserter(text), "{},{},{}", 1600 + subject, codes[activity], now);
          for (const double value : v) {
            text += ',';
            // The sensor's calibration leaves no round numbers, which also gives the tiny values that print with an exponent.
            java_float(value + 1e-4 * (clock.uniform() - 0.5), text);
          }
          text += ";\n";
          now += static_cast<std::int64_t>(1e9 / hz * (1 + 0.02 * (clock.uniform() - 0.5)));
        }
      }
      writer.write(
          fs::path("raw") / devices[device] / "accel" / fmt::format("data_{}_accel_{}.txt", 1600 + subject, devices[device]),
          text, rows);
    }
}

// -----------------------------------------------------------------------------------------------------------------------------------

struct Format {
  std::string_view id;
  std::int32_t subjects;
  double seconds;
  void (*write)(const Plan&, Writer&);
};
constexpr std::array<Format, 3> formats = {
    {{"sleep", 24, 60, write_sleep}, {"mhealth", 10, 60, write_mhealth}, {"wisdm", 51, 180, write_wisdm}}};

}  // namespace

SyntheticSummary write_synthetic(const fs::path& directory, const SyntheticOptions& options) {
  const Format* format = nullptr;
  for (const Format& item : formats)
    if (item.id == options.dataset) format = &item;
  check<InputError>(format, "unknown data set '{}'; known are sleep, mhealth and wisdm", options.dataset);
  const Plan plan = {options.subjects ? options.subjects : format->subjects,
                     options.seconds != 0 ? options.seconds : format->seconds, options.seed};
  check<InputError>(plan.subjects >= 1 && plan.subjects <= 1000, "{} subjects are not between 1 and 1000", plan.subjects);
  check<InputError>(plan.seconds >= 0.1 && plan.seconds <= 86400, "{} seconds are not between 0.1 and 86400", plan.seconds);

  const std::string marker = fmt::format(
      "These recordings are SYNTHETIC. No person was measured.\n"
      "They imitate the file format of the {} data set with a simple physical model, made by `retort data synth`:\n"
      "subjects {}, seconds {}, seed {}.\n"
      "Results on them say nothing about real people.\n",
      options.dataset, plan.subjects, plan.seconds, plan.seed);
  try {
    check<InputError>(!fs::exists(directory) || fs::is_directory(directory), "{}: is in the way, a directory is needed",
                      directory.string());
    const fs::path marker_file = directory / synthetic_marker;
    const bool filled = fs::exists(directory) && !fs::is_empty(directory);
    check<InputError>(!filled || fs::exists(marker_file), "{}: holds files that were not made here; choose another directory",
                      directory.string());
    check<InputError>(!filled || read_file(marker_file) == marker,
                      "{}: holds synthetic recordings of other options; remove it or choose another directory",
                      directory.string());
    fs::create_directories(directory);
    write_file_atomically(marker_file, marker);
    Writer writer(directory, marker);
    format->write(plan, writer);
    return writer.summary();
  } catch (const fs::filesystem_error& error) {
    fail<InputError>("{}: cannot be written: {}", directory.string(), error.code().message());
  }
}

}  // namespace retort
