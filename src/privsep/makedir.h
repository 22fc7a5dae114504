/*
 * Directories of the service's own, made by root before it becomes somebody else. Root walks where
 * others may lead it nowhere: each directory and each symbolic link on the way belongs to root, and
 * nobody else may put things there, but for sticky directories such as /tmp.
 */
#pragma once

#include <sys/types.h>

/* Makes the last component of an absolute path, if it is missing, and gives it to this user. What is
 * there already stays as it is. 0 or a negative errno (logged). */
int makedir_for(const char *path, mode_t mode, uid_t uid, gid_t gid);
