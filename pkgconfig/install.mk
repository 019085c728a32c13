# make install    [PREFIX=/usr/local] [LIBDIR=] [INCLUDEDIR=] [MANDIR=] [DOCDIR=] [DESTDIR=]
# make uninstall  with the same words takes all of it away again
#
# DESTDIR is put before every path, for whoever packs the files and installs them elsewhere.
# STRIP=: keeps the debug information.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/pktring
INSTALL ?= install
STRIP ?= strip

empty :=
space := $(empty) $(empty)
cmakedir = $(LIBDIR)/cmake/pktring
manual := $(dist)/manual

.PHONY: manual install uninstall

# The manual: man pages and HTML, from the comments of the header.
manual: need-cargo
	$(CARGO) run --quiet --package manual -- $(manual)

# fill FROM,TO: a template with its @words@ replaced.
fill = sed -e 's|@prefix@|$(PREFIX)|g' -e 's|@version@|$(version)|g' \
	-e 's|@libdir@|$(patsubst $(PREFIX)/%,$(3)/%,$(LIBDIR))|g' \
	-e 's|@includedir@|$(patsubst $(PREFIX)/%,$(3)/%,$(INCLUDEDIR))|g' \
	-e 's|@soname@|$(soname)|g' -e 's|@private_libs@|$(subst $(space),;,$(private_libs))|g' \
	$(1) >$(2) && chmod 644 $(2)

install: all manual
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(cmakedir) \
		$(DESTDIR)$(INCLUDEDIR)/pktring $(DESTDIR)$(MANDIR)/man3 $(DESTDIR)$(MANDIR)/man7 \
		$(DESTDIR)$(DOCDIR)/html $(DESTDIR)$(DOCDIR)/examples/tools \
		$(DESTDIR)$(DOCDIR)/examples/man
	$(INSTALL) -m 755 $(shared) $(DESTDIR)$(LIBDIR)
	$(STRIP) --strip-unneeded $(DESTDIR)$(LIBDIR)/$(notdir $(shared))
	ln -sf $(notdir $(shared)) $(DESTDIR)$(LIBDIR)/$(soname)
	ln -sf $(soname) $(DESTDIR)$(LIBDIR)/libpktring.so
	$(INSTALL) -m 644 $(archive) $(DESTDIR)$(LIBDIR)
	$(STRIP) --strip-debug $(DESTDIR)$(LIBDIR)/$(notdir $(archive))
	$(INSTALL) -m 644 include/pktring.h include/pktring.hpp $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 644 include/pktring/inline.h $(DESTDIR)$(INCLUDEDIR)/pktring
	$(call fill,pkgconfig/pktring.pc.in,$(DESTDIR)$(LIBDIR)/pkgconfig/pktring.pc,$${prefix})
	$(call fill,pkgconfig/pktringConfig.cmake.in,$(DESTDIR)$(cmakedir)/pktringConfig.cmake,$(PREFIX))
	$(call fill,pkgconfig/pktringConfigVersion.cmake.in,$(DESTDIR)$(cmakedir)/pktringConfigVersion.cmake,$(PREFIX))
	$(INSTALL) -m 644 $(manual)/man3/*.3 $(DESTDIR)$(MANDIR)/man3
	$(INSTALL) -m 644 $(manual)/man7/*.7 $(DESTDIR)$(MANDIR)/man7
	$(INSTALL) -m 644 $(manual)/html/* $(DESTDIR)$(DOCDIR)/html
	$(INSTALL) -m 644 c-examples/*.[ch] c-examples/Makefile $(DESTDIR)$(DOCDIR)/examples
	$(INSTALL) -m 644 c-examples/tools/*.[ch] $(DESTDIR)$(DOCDIR)/examples/tools
	$(INSTALL) -m 644 man/*.1 $(DESTDIR)$(DOCDIR)/examples/man

uninstall: manual
	rm -f $(DESTDIR)$(LIBDIR)/libpktring.so* $(DESTDIR)$(LIBDIR)/libpktring.a
	rm -f $(DESTDIR)$(LIBDIR)/pkgconfig/pktring.pc
	rm -f $(DESTDIR)$(INCLUDEDIR)/pktring.h $(DESTDIR)$(INCLUDEDIR)/pktring.hpp
	cd $(manual) && for page in man3/*.3 man7/*.7; do rm -f "$(DESTDIR)$(MANDIR)/$$page"; done
	rm -rf $(DESTDIR)$(cmakedir) $(DESTDIR)$(INCLUDEDIR)/pktring $(DESTDIR)$(DOCDIR)
