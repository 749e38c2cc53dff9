// The paper's table 5 for its Sleep recordings, which are in no public archive.
#include "retort/examples/reproduce/reproduce.h"

int main(int argc, char** argv) { return retort::reproduce({"sleep", ""}, argc, argv); }
