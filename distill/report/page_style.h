#pragma once

namespace retort {

/// The page's style sheet: colours as variables (light, dark, print), the layout, the tables, the heat maps.
extern const char* const kPageStyle;

}  // namespace retort
