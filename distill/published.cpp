#include "retort/distill/published.h"

namespace retort {
namespace {

// Order of the figures: task 1 accuracy, task 1 F1, task 2 accuracy, task 2 F1; first validation, then test.
constexpr PublishedResult table5[] = {
    {"single-task",
     "sleep",
     {{89.51, 0.33}, {89.48, 0.34}, {92.08, 1.18}, {91.80, 1.25}},
     {{89.74, 0.38}, {89.70, 0.39}, {91.78, 1.46}, {91.50, 1.52}}},
    {"single-task",
     "mhealth",
     {{74.63, 0.51}, {51.03, 0.65}, {95.89, 0.22}, {95.87, 0.23}},
     {{74.64, 0.52}, {49.89, 1.19}, {95.79, 0.21}, {95.79, 0.21}}},
    {"single-task",
     "wisdm",
     {{63.84, 0.89}, {63.79, 0.86}, {88.42, 0.41}, {88.24, 0.45}},
     {{64.05, 0.71}, {64.02, 0.71}, {88.53, 0.31}, {88.32, 0.34}}},
    {"multi-task",
     "sleep",
     {{89.53, 1.02}, {89.50, 1.03}, {91.50, 1.05}, {91.20, 1.09}},
     {{90.09, 1.14}, {90.05, 1.15}, {91.57, 1.08}, {91.29, 1.13}}},
    {"multi-task",
     "mhealth",
     {{74.71, 0.53}, {50.20, 1.00}, {95.58, 0.21}, {95.57, 0.21}},
     {{74.79, 0.41}, {49.28, 1.02}, {95.37, 0.19}, {95.37, 0.18}}},
    {"multi-task",
     "wisdm",
     {{64.26, 0.84}, {64.17, 0.79}, {88.50, 0.52}, {88.33, 0.51}},
     {{64.46, 0.69}, {64.40, 0.67}, {88.51, 0.47}, {88.32, 0.46}}},
    {"sd-dropout",
     "sleep",
     {{87.39, 1.39}, {87.36, 1.42}, {88.72, 1.02}, {88.28, 1.08}},
     {{87.66, 1.31}, {87.61, 1.31}, {88.85, 0.90}, {88.42, 0.98}}},
    {"sd-dropout",
     "mhealth",
     {{75.56, 0.49}, {48.60, 1.95}, {95.11, 0.30}, {95.09, 0.30}},
     {{75.72, 0.51}, {47.68, 1.56}, {95.13, 0.44}, {95.12, 0.44}}},
    {"sd-dropout",
     "wisdm",
     {{61.14, 2.02}, {61.15, 1.92}, {86.78, 0.68}, {86.58, 0.70}},
     {{61.36, 2.08}, {61.38, 2.01}, {86.94, 0.79}, {86.71, 0.83}}},
    {"born-again",
     "sleep",
     {{92.00, 0.22}, {91.99, 0.21}, {93.23, 0.55}, {93.02, 0.58}},
     {{91.96, 0.11}, {91.93, 0.12}, {93.23, 0.41}, {93.00, 0.44}}},
    {"born-again",
     "mhealth",
     {{77.68, 0.15}, {50.68, 2.04}, {95.98, 0.25}, {95.96, 0.26}},
     {{77.62, 0.25}, {48.87, 1.60}, {95.86, 0.09}, {95.85, 0.09}}},
    {"born-again",
     "wisdm",
     {{66.84, 0.08}, {66.84, 0.13}, {88.35, 0.21}, {88.14, 0.21}},
     {{66.80, 0.25}, {66.83, 0.28}, {88.37, 0.17}, {88.14, 0.19}}},
    {"smooth-distill",
     "sleep",
     {{92.07, 0.58}, {92.06, 0.59}, {93.38, 0.74}, {93.15, 0.76}},
     {{92.22, 0.53}, {92.19, 0.53}, {93.40, 0.58}, {93.18, 0.63}}},
    {"smooth-distill",
     "mhealth",
     {{78.34, 0.10}, {55.22, 1.00}, {96.41, 0.22}, {96.39, 0.23}},
     {{78.35, 0.14}, {53.97, 0.96}, {96.27, 0.19}, {96.26, 0.19}}},
    {"smooth-distill",
     "wisdm",
     {{68.45, 0.38}, {68.41, 0.35}, {89.24, 0.31}, {89.06, 0.32}},
     {{68.59, 0.33}, {68.58, 0.32}, {89.05, 0.41}, {88.85, 0.44}}},
};

// Sleep, task 1: accuracy, sensitivity, PPV, NPV of the twelve postures in label order.
struct PublishedClasses {
  std::string_view method;
  PublishedClass classes[12];
};
constexpr PublishedClasses table6[] = {
    {"single-task",
     {{98.67, 94.48, 90.02, 99.50},
      {98.28, 91.55, 88.40, 99.22},
      {98.66, 91.10, 92.07, 99.23},
      {98.82, 92.73, 93.54, 99.32},
      {98.64, 93.26, 90.61, 99.39},
      {98.57, 90.50, 92.06, 99.15},
      {98.41, 92.55, 88.98, 99.31},
      {97.63, 84.62, 85.61, 98.66},
      {98.24, 89.63, 90.58, 98.99},
      {98.33, 88.97, 91.27, 98.97},
      {98.32, 89.38, 90.58, 99.02},
      {98.01, 84.32, 89.76, 98.67}}},
    {"multi-task",
     {{98.37, 87.50, 92.39, 98.88},
      {97.86, 88.65, 86.26, 98.96},
      {98.13, 89.46, 87.41, 99.09},
      {98.68, 90.45, 94.02, 99.10},
      {97.95, 89.66, 86.18, 99.06},
      {98.10, 90.95, 86.73, 99.18},
      {98.24, 87.43, 91.18, 98.85},
      {97.26, 82.05, 83.51, 98.44},
      {98.28, 89.11, 91.41, 98.94},
      {98.06, 90.39, 87.34, 99.10},
      {97.86, 82.30, 91.51, 98.38},
      {97.54, 89.91, 80.96, 99.13}}},
    {"sd-dropout",
     {{98.90, 93.69, 93.06, 99.43},
      {98.40, 90.77, 90.27, 99.15},
      {98.49, 87.24, 93.36, 98.90},
      {98.94, 93.70, 93.91, 99.41},
      {98.49, 93.03, 89.22, 99.37},
      {98.54, 92.08, 90.44, 99.29},
      {98.80, 92.88, 92.78, 99.35},
      {98.18, 87.06, 89.89, 98.88},
      {98.39, 88.90, 92.79, 98.92},
      {98.19, 91.27, 88.00, 99.18},
      {97.93, 87.94, 87.56, 98.89},
      {97.97, 88.36, 86.21, 99.00}}},
    {"born-again",
     {{98.92, 95.27, 91.96, 99.57},
      {98.78, 92.88, 92.57, 99.35},
      {98.93, 91.80, 94.57, 99.29},
      {99.12, 94.57, 95.19, 99.49},
      {98.56, 91.69, 91.07, 99.25},
      {98.64, 93.21, 90.55, 99.39},
      {98.68, 92.32, 92.02, 99.30},
      {98.15, 86.36, 90.15, 98.82},
      {98.78, 92.46, 93.74, 99.26},
      {98.63, 92.58, 91.48, 99.30},
      {98.69, 94.25, 90.64, 99.47},
      {98.52, 88.36, 92.42, 99.01}}},
    {"smooth-distill",
     {{98.98, 95.05, 92.85, 99.55},
      {98.62, 91.43, 92.05, 99.22},
      {98.80, 93.44, 91.62, 99.43},
      {99.12, 94.25, 95.49, 99.46},
      {98.63, 93.82, 90.08, 99.44},
      {98.78, 92.65, 92.54, 99.34},
      {98.82, 92.77, 93.18, 99.34},
      {98.31, 88.69, 90.06, 99.02},
      {98.84, 92.77, 94.16, 99.29},
      {98.79, 92.79, 93.00, 99.33},
      {98.77, 93.03, 92.42, 99.36},
      {98.35, 87.65, 91.00, 98.95}}},
};

constexpr PublishedCost table7[] = {
    {"single-task", 13.710, 3.592, 10010112, 5012, 0.557},  {"multi-task", 6.862, 1.798, 5008128, 3878, 0.431},
    {"sd-dropout", 6.862, 1.798, 5008128, 13001, 1.444},    {"born-again", 6.862, 1.798, 5008128, 8280, 0.920},
    {"smooth-distill", 6.862, 1.798, 5008128, 4368, 0.485},
};

struct PublishedTest {
  std::string_view a, b;
  double accuracy, f1;
};
constexpr PublishedTest table8[] = {
    {"single-task", "multi-task", 0.0421, 0.0418},    {"single-task", "sd-dropout", 0.4631, 0.442},
    {"single-task", "born-again", 0.0003, 0.0003},    {"single-task", "smooth-distill", 0.0001, 0.0001},
    {"multi-task", "sd-dropout", 0.0099, 0.0091},     {"multi-task", "born-again", 0.0011, 0.0011},
    {"multi-task", "smooth-distill", 0.0003, 0.0004}, {"sd-dropout", "born-again", 0.0005, 0.0005},
    {"sd-dropout", "smooth-distill", 0.0006, 0.0006}, {"born-again", "smooth-distill", 0.7173, 0.7431},
};

}  // namespace

std::span<const PublishedResult> published_results() { return table5; }

const PublishedResult* find_published(std::string_view method, std::string_view dataset) {
  for (const PublishedResult& result : table5)
    if (result.method == method && result.dataset == dataset) return &result;
  return nullptr;
}

const PublishedClass* find_published_class(std::string_view method, std::string_view dataset, int task, std::size_t label) {
  if (dataset != "sleep" || task != 1 || label >= 12) return nullptr;
  for (const PublishedClasses& row : table6)
    if (row.method == method) return &row.classes[label];
  return nullptr;
}

std::span<const PublishedCost> published_costs() { return table7; }

const PublishedCost* find_published_cost(std::string_view method) {
  for (const PublishedCost& cost : table7)
    if (cost.method == method) return &cost;
  return nullptr;
}

std::optional<double> published_p(std::string_view metric, std::string_view a, std::string_view b) {
  for (const PublishedTest& test : table8)
    if ((test.a == a && test.b == b) || (test.a == b && test.b == a)) return metric == "accuracy" ? test.accuracy : test.f1;
  return std::nullopt;
}

std::int64_t published_windows(std::string_view dataset) {
  return dataset == "sleep" ? 53546 : dataset == "mhealth" ? 60786 : dataset == "wisdm" ? 143023 : 0;
}

}  // namespace retort
