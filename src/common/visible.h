/* Characters that do not just show: in a log, on a terminal or in a file name they act, or make the
 * text around them look like another. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* C0, DEL and C1: newline, escape, ... */
bool visible_is_control(uint32_t code);
/* What turns the direction of text (UAX #9), and Unicode's own line breaks. */
bool visible_is_layout(uint32_t code);
/* What is not seen at all, so that two names look the same (Default_Ignorable_Code_Point of UAX
 * #44). But not U+200C, U+200D and the variation selectors: words and emoji are spelt with them. */
bool visible_is_hidden(uint32_t code);
