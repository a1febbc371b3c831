DATABASES = {
    'default': {
        'NAME': 'shop',  # it's the shop's
        'USER': 'app',
        'TEST': {'NAME': 'no'},
        'ENGINE': 'django.db.backends.postgresql',
        'HOST': 'localhost',  # 'NAME': 'no'
    },
    'orders': {
        'ENGINE': 'django.db.backends.mysql',
        'USER': 'me',
        'NAME': 'orders'  # it's theirs
    }
}
