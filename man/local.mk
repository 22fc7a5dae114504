dist_man_MANS += man/autodl.1 man/autodl-service.8 man/autodl.conf.5 man/autodl-api.7
