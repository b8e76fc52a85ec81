/* Several builds of the library in one process, of which one at a time has its turn. */
#ifndef BUILDS_H
#define BUILDS_H

enum { MOST_BUILDS = 8 };

/* Loads the libraries in these files, each with an instance of its own for every instance that is made. */
void builds_load(unsigned count, char *const files[]);

/* From now on the calls of the library are those of this build. */
void builds_turn(unsigned build);

/* From now on each call is made of every build, with the same arguments; what they write is what the last
 * one wrote. Packets must not be translated then. */
void builds_together(void);

#endif
