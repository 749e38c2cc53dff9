// The windows per class that the paper publishes (Smooth-Distill, tables 2 to 4), to print beside our own counts.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace retort {

struct PublishedClass {
  std::string_view name;
  std::int32_t train, test;  ///< windows
};

/// Table 2, in label order.
inline constexpr std::array<PublishedClass, 12> published_sleep = {{
    {"Up (Supine)", 3574, 894},
    {"Up Right", 3563, 891},
    {"Right Up", 3542, 885},
    {"Right (Lateral Right)", 3617, 905},
    {"Right Down", 3600, 900},
    {"Down Right", 3532, 883},
    {"Down (Prone)", 3621, 906},
    {"Down Left", 3498, 874},
    {"Left Down", 3578, 894},
    {"Left (Lateral Left)", 3633, 908},
    {"Left Up", 3578, 895},
    {"Up Left", 3500, 875},
}};

/// Table 3, in label order.
inline constexpr std::array<PublishedClass, 13> published_mhealth = {{
    {"Null", 34899, 8725},
    {"Standing still", 1228, 307},
    {"Sitting and relaxing", 1229, 307},
    {"Lying down", 1229, 307},
    {"Walking", 1228, 307},
    {"Climbing stairs", 1230, 308},
    {"Waist bends forward", 1134, 283},
    {"Frontal elevation of arms", 1178, 295},
    {"Knees bending (crouching)", 1174, 294},
    {"Cycling", 1229, 307},
    {"Jogging", 1228, 307},
    {"Running", 1229, 308},
    {"Jump front & back", 413, 103},
}};

/// Table 4, in label order.
inline constexpr std::array<PublishedClass, 18> published_wisdm = {{
    {"Walking", 6537, 1634},
    {"Jogging", 6322, 1580},
    {"Stairs", 6170, 1542},
    {"Sitting", 6368, 1592},
    {"Standing", 6482, 1621},
    {"Typing", 6019, 1505},
    {"Brushing Teeth", 6377, 1595},
    {"Eating Soup", 6408, 1602},
    {"Eating Chips", 6286, 1571},
    {"Eating Pasta", 6038, 1509},
    {"Drinking from Cup", 6677, 1669},
    {"Eating Sandwich", 6262, 1566},
    {"Kicking (Soccer Ball)", 6510, 1628},
    {"Playing Catch w/Tennis Ball", 6431, 1608},
    {"Dribbling (Basketball)", 6469, 1617},
    {"Writing", 6350, 1588},
    {"Clapping", 6358, 1589},
    {"Folding Clothes", 6354, 1589},
}};

/// The published classes of a data set, by its id; empty for another one.
inline std::span<const PublishedClass> published_classes(std::string_view dataset_id) {
  if (dataset_id == "sleep") return published_sleep;
  if (dataset_id == "mhealth") return published_mhealth;
  if (dataset_id == "wisdm") return published_wisdm;
  return {};
}

}  // namespace retort
